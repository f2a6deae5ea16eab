"""What peers did wrong, told to the user once for each."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Complaints"]

MAX_COMPLAINTS = 32


class Complaints:
    """Calls note once for each peer, however often that gives cause, and for so many peers."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._known: set[bytes] = set()

    def __call__(self, peer: bytes, text: str) -> None:
        """The peer gave cause."""
        if peer not in self._known and len(self._known) < MAX_COMPLAINTS:
            self._known.add(peer)
            self._note(text)
