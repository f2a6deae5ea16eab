"""The network of a run, and how it is cut into stages."""
