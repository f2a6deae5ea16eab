"""The loop that follows the workers of a run."""
