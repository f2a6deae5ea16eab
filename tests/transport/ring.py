"""Keys for tests in which one process is both ends."""

from __future__ import annotations

from dni_async.transport.keys import KeyRing
from dni_async.transport.rings import make_key_pair

__all__ = ["lone_ring"]


def lone_ring() -> KeyRing:
    """Of who is coordinator and worker at once, and admits nobody else."""
    own = make_key_pair()
    return KeyRing(own, own.public, frozenset([own.public]))
