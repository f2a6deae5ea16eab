"""Who looks on while a run trains."""
