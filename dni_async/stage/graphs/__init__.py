"""How layers are run, and what the graphs of that keep."""
