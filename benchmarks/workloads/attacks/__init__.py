"""Who is against a run, and a run that can be attacked."""
