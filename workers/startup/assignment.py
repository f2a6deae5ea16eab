"""What a worker is told at birth: whose it is, and which stage it hosts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dni_async.files import names
from dni_async.transport.keys import KeyRing
from dni_async.transport.rings import ring_from
from dni_async.wire.messages import Welcome
from dni_async.workers.startup.listening import InboxAddress, inbox_beside, inbox_on

__all__ = ["Assignment"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is told at birth. lifeline: a descriptor that ends when the launcher does.

    incarnation: how many workers have hosted the stage before. ring: the keys that tcp sockets use.
    interface: the address to listen on where neighbours may be on other hosts, who are told
    advertised, if it is not the same. ticket: by which the coordinator knows that this is who it
    gave the stage to.

    Of a worker that has joined, folder is its own, for files
    while the run directory is out of sight, and data_dir is where the data lies here.
    """

    coordinator: str
    stage: int
    run_id: str
    lifeline: int | None = None
    incarnation: int = 0
    ring: KeyRing | None = None
    interface: str = ""
    advertised: str = ""
    folder: str = ""
    data_dir: str = ""
    ticket: str = field(default="", repr=False)

    @classmethod
    def told(cls, request: Mapping[str, Any], lifeline: int) -> Assignment:
        """Of a worker of the launcher's own host, as the fork server was asked for it."""
        ring = request["ring"]
        return cls(
            request["coordinator"],
            request["stage"],
            request["run_id"],
            lifeline,
            request["incarnation"],
            ring=None if ring is None else ring_from(ring),
            interface=request["interface"],
            ticket=request["ticket"],
        )

    @property
    def has_joined(self) -> bool:
        """Whether it came from elsewhere."""
        return bool(self.folder)

    @property
    def name(self) -> str:
        """No other worker of the run has the same."""
        return names.worker(self.stage, self.incarnation)

    @property
    def peer(self) -> bytes:
        """The routing id of its control connection: nobody without the ticket can know it."""
        if not self.ticket:  # started by hand
            return self.name.encode()
        mark = hashlib.sha256(self.ticket.encode()).hexdigest()[:16]
        return f"{self.name},{mark}".encode()

    def inbox(self) -> InboxAddress:
        """Where its stage listens."""
        if not self.interface:
            return inbox_beside(self.coordinator, self.name)
        return inbox_on(self.interface, self.advertised)

    def adapt(self, welcome: Welcome) -> Welcome:
        """welcome, with what is this host's own."""
        if not self.data_dir:
            return welcome
        return dataclasses.replace(welcome, config={**welcome.config, "data_dir": self.data_dir})
