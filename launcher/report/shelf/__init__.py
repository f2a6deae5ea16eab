"""Several runs: which a folder holds, and how they stand side by side."""
