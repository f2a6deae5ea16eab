"""What all workers of a run did when, and the same work in lockstep."""
