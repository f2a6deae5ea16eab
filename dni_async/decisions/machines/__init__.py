"""What a stage does at each event: one machine, and what it consists of."""
