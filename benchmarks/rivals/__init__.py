"""The rivals, each in processes of its own: raw ZeroMQ, gloo, pipelines, data parallelism."""
