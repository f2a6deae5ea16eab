"""What is trained with a core for every layer, round by round, and what comes of it."""
