"""The numbers of one stage: forward, gradient, update."""
