"""What a terminal shows while a run goes on: how far it is, its stages, what is waited for."""
