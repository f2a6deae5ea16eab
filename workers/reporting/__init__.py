"""What a worker tells and writes of its work."""
