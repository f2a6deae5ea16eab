"""Deep networks: what is trained, in order with chosen delays, and what is measured of it."""
