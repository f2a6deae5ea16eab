"""What a worker shows to take its stage: a random word, made for each incarnation."""

from __future__ import annotations

import hmac
import secrets

from dni_async.wire.messages import Hello

__all__ = ["Tickets"]


class Tickets:
    """The ticket of each stage's newest incarnation; earlier ones are good for nothing.

    They stay out of what the run's machine hears and decides, which is written down.
    """

    def __init__(self) -> None:
        self._issued: dict[int, tuple[int, str]] = {}  # by stage: incarnation and ticket

    def issue(self, stage: int, incarnation: int) -> str:
        """A new one for who is to host the stage in that incarnation; it is told nobody else."""
        ticket = secrets.token_hex(16)
        self._issued[stage] = (incarnation, ticket)
        return ticket

    def why_wrong(self, hello: Hello) -> str:
        """Why hello is not of who was to host its stage, as half a sentence; empty where it is."""
        incarnation, ticket = self._issued.get(hello.stage, (0, ""))
        shown = hello.ticket.encode(errors="replace")
        is_right = bool(ticket) and hmac.compare_digest(shown, ticket.encode())
        if is_right and hello.incarnation == incarnation:
            return ""
        return f"Hello without the ticket of stage {hello.stage}, incarnation {hello.incarnation}"
