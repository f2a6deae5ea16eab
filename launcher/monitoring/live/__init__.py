"""What changes in place while a run goes on: how far it is, its stages, what is waited for."""
