"""What a network is tried for before any process starts."""
