"""What is measured on test samples beside the loss."""
