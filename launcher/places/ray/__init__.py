"""Workers that a Ray cluster places."""
