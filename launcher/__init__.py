"""The command line, the coordinator, process supervision, the baseline and the report."""
