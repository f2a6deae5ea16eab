"""What ``dni-launch demo`` shows: how large, in which acts, and in which words."""
