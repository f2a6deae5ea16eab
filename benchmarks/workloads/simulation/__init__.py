"""A run foretold from the times of its stages."""
