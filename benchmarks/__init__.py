"""Measure dni-async against its rivals; run as ``python -m benchmarks.NAME``."""
