"""Layers that move to other stages while a run trains: when, and how. No I/O."""
