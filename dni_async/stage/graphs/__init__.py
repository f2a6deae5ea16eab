"""Graphs of what a stage computed, and gradients pulled back through them."""
