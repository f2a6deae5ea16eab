"""Who has joined from elsewhere, by themselves or as actors of a cluster. No I/O."""
