"""What a stage decides: plain code with no socket, no torch and no clock in it."""
