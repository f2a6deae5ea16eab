"""What is known of a run beside who takes part: who is silent, how far it is, which layers move."""
