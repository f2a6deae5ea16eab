"""What the head computes from outputs and targets, and everything else that follows from it."""
