"""What is checked and laid out before any process starts."""
