"""What a run needs of this host, whoever asks: dni-launch before it starts, or dni-doctor."""
