"""The loop of a worker that trains its stage."""
