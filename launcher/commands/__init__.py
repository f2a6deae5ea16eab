"""The command lines beside that of a run, and what all of them share."""
