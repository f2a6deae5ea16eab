"""Training in order, in one process, as a reference."""
