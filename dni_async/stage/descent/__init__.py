"""How gradients become updates: gathered, clipped, at what rate, by which optimizer."""
