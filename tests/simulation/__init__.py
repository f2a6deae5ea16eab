"""Whole runs of the real program, with a made-up network, disk, clock and numbers."""
