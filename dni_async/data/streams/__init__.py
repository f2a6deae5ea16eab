"""Batches as a loader, a generator or any other stream of a user's own gives them."""
