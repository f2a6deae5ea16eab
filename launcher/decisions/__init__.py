"""What the launcher decides about a run; no I/O."""
