"""Processes with one job: the baseline, and the measuring of layers."""
