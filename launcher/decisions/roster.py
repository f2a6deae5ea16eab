"""Who has said what, and whether the run may start or is over. No I/O, no clock of its own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from dni_async.errors import HandshakeError
from dni_async.wire.messages import PROTOCOL, Hello, InboxMoved

__all__ = ["Roster"]


@dataclass(slots=True)
class Roster:
    """The workers of a run of num_stages stages, by stage.

    may_be_near: those in the same place talk by what they share; else over tcp too.
    """

    num_stages: int
    run_id: str
    may_be_near: bool = True
    pids: dict[int, int] = field(default_factory=dict)
    hellos: dict[int, Hello] = field(default_factory=dict)
    ready: set[int] = field(default_factory=set)
    left: set[int] = field(default_factory=set)  # said Bye
    incarnations: dict[int, int] = field(default_factory=dict)  # of those replaced

    def admit(self, hello: Hello) -> None:
        """Enter a worker. Raises HandshakeError if it does not belong to this run."""
        if hello.protocol != PROTOCOL:
            raise HandshakeError(
                f"stage {hello.stage} speaks protocol {hello.protocol}, this launcher {PROTOCOL}"
            )
        if hello.run_id != self.run_id:
            raise HandshakeError(f"stage {hello.stage} belongs to another run")
        if not hello.stage < self.num_stages:
            raise HandshakeError(f"stage {hello.stage} of {self.num_stages} does not exist")
        awaited = self.incarnations.get(hello.stage, 0)
        if hello.incarnation != awaited:
            raise HandshakeError(
                f"stage {hello.stage} is awaited in incarnation {awaited}, not {hello.incarnation}"
            )
        if hello.stage in self.hellos:
            raise HandshakeError(f"stage {hello.stage} said Hello twice")
        self.hellos[hello.stage] = hello
        self.pids[hello.stage] = hello.pid

    def vacate(self, stage: int, incarnation: int) -> None:
        """The stage's worker has died; that incarnation is to take its place."""
        self.incarnations[stage] = incarnation
        self.hellos.pop(stage, None)
        self.ready.discard(stage)

    @property
    def all_admitted(self) -> bool:
        """Everybody said Hello."""
        return len(self.hellos) == self.num_stages

    @property
    def all_ready(self) -> bool:
        """Everybody said Ready."""
        return len(self.ready) == self.num_stages

    @property
    def all_left(self) -> bool:
        """Everybody said Bye."""
        return len(self.left) == self.num_stages

    def peer_of(self, stage: int) -> str:
        """The inbox that stage sends to: the stage above's, empty for the head."""
        if stage + 1 == self.num_stages:
            return ""
        own, above = self.hellos[stage], self.hellos[stage + 1]
        is_near = self.may_be_near and above.near and own.place == above.place
        return above.near if is_near else above.endpoint

    def move(self, message: InboxMoved) -> None:
        """A stage has a new inbox, if its worker is still there."""
        hello = self.hellos.get(message.stage)
        if hello is not None:
            self.hellos[message.stage] = dataclasses.replace(
                hello, endpoint=message.endpoint, near=message.near
            )

    def missing(self) -> str:
        """Who keeps the run from starting, and what is awaited from them."""
        waiting = self.hellos if not self.all_admitted else self.ready
        what = "Hello" if not self.all_admitted else "Ready"
        absent = [stage for stage in range(self.num_stages) if stage not in waiting]
        names = ", ".join(
            f"stage {stage} (pid {self.pids[stage]})" if stage in self.pids else f"stage {stage}"
            for stage in absent
        )
        return f"{what} from {names}"
