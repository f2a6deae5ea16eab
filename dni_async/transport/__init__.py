"""How messages travel: sockets, shared slots, and who may connect."""
