"""What the way to another host can carry."""
