"""What a run is: its settings, their checks, and what the user brings of their own."""
