"""What a worker knows once its run may start, and the ways in which the run may end for it."""

from __future__ import annotations

from dataclasses import dataclass

from dni_async.config.run_config import RunConfig
from dni_async.transport.link import Link
from dni_async.wire.messages import Welcome
from dni_async.workers.startup.file_courier import FileCourier
from dni_async.workers.startup.listening import InboxAddress

__all__ = ["Orphaned", "Seat", "Stopped"]


class Stopped(Exception):
    """The coordinator said Stop, or is gone. again: who has joined from elsewhere may once more."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


class Orphaned(Stopped):
    """The coordinator is gone: nobody hears what was not said yet."""


@dataclass(slots=True)
class Seat:
    """All that a worker knows once the run may start. inbox, outbox: None at the line's ends.

    A link is exchanged when the neighbour at its other end is replaced. next_batch_id: where the
    work goes on; 0 at the start of a run. incarnation: how many workers have hosted the stage
    before. listens: where the inbox is. courier: where the run directory is out of sight.
    """

    welcome: Welcome
    config: RunConfig
    stage: int
    inbox: Link | None
    outbox: Link | None
    next_batch_id: int = 0
    incarnation: int = 0
    listens: InboxAddress | None = None
    courier: FileCourier | None = None

    @property
    def is_replacement(self) -> bool:
        """Whether a worker has died here before."""
        return self.incarnation > 0

    def finish_links(self, patience_s: float) -> None:
        """All is sent and received; wait until neighbours are done with what is shared with them.

        Each link patience_s at most.
        """
        for link in (self.inbox, self.outbox):
            if link is not None:
                link.finish(patience_s)

    @property
    def run_id(self) -> str:
        """The id that every message of this run carries."""
        return self.welcome.run_id
