"""What a machine with GPUs has to show: the tests for CUDA, then figures, in 8 minutes."""
