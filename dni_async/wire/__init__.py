"""What travels: the messages, and their frames."""
