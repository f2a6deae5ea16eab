"""What the coordinator says, and what it means that nothing is heard of it any more."""

from __future__ import annotations

import select
from collections.abc import Iterator

from dni_async.wire.messages import Message, Stop
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.seat import Orphaned, Seat, Stopped

__all__ = ["Orders"]


class Orders:
    """Listens to the coordinator, and for the end of the launcher.

    is_parting: the launcher is gone, and the stage leaves with its next checkpoint.
    """

    def __init__(self, seat: Seat, connections: Connections) -> None:
        self.is_parting = False
        self._seat = seat
        self._control = connections.control
        self._early = connections.early
        self._waiting = connections.waiting
        self._lifeline = connections.lifeline
        self._is_far = connections.lifeline is None
        self._launcher_end = select.poll()
        if connections.lifeline is not None:
            self._launcher_end.register(connections.lifeline, select.POLLIN)

    def early(self) -> Iterator[Message]:
        """What was said before Start, in order, once."""
        while self._early:
            yield self._early.pop(0)

    def hear(self) -> Message | None:
        """The next order but Stop, if there is one.

        Raises Stopped at a Stop, Orphaned when a coordinator elsewhere, who sends heartbeats, was
        not heard of for too long.
        """
        message = self._control.receive()
        if isinstance(message, Stop):
            raise Stopped(message.reason, again=message.again)
        config = self._seat.config
        is_far = self._is_far and config.has_remote
        if message is None and is_far and self._control.silent_s > config.silent_after_s:
            raise Orphaned("the coordinator is gone, or out of reach")
        return message

    def wait(self, timeout_s: float) -> bool:
        """Wait for any message, at most timeout_s; whether the launcher has ended meanwhile."""
        return self._lifeline in self._waiting.wait(timeout_s)

    def launcher_has_ended(self) -> bool:
        """Whether it has, told once. Raises Orphaned where no checkpoints are made.

        Where they are every stage leaves with its part of the first cut that it takes up from now
        on, and the source raises one; as none leaves before it has passed that on, one of them
        becomes complete.
        """
        if self._lifeline is None or not self._launcher_end.poll(0):
            return False
        self._waiting.forget(self._lifeline)
        self._lifeline = None
        if not self._seat.config.checkpoint_every:
            raise Orphaned("the launcher is gone")
        self.is_parting = True
        return True
