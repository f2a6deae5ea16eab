"""How a worker saves its stage."""
