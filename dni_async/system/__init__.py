"""The system beneath a process: its machine, other processes, and what it may print to."""
