"""A run in a browser: what its pages show, and the small server that hands it out."""
