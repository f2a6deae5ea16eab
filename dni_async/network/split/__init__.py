"""Cut any module into a chain of parts that compute, together, what it computes."""
