"""Ways between two processes, timed."""
