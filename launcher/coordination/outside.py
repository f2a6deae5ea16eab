"""All that a run's machine hears of, as events: connections, processes of this host, actors."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dni_async.errors import LinkError, WireError
from dni_async.launcher.coordination.tickets import Tickets
from dni_async.launcher.decisions.events import (
    ActorEnded,
    Heard,
    PartHeard,
    Reached,
    Refused,
    RunEvent,
    WorkerExited,
    WorkerStarted,
)
from dni_async.launcher.places.local import (
    Exited,
    Started,
    WorkerProcesses,
    last_line,
    signal_name,
)
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.transport.channels import ControlServer
from dni_async.transport.sockets import Poller
from dni_async.wire.messages import (
    Assigned,
    CoordinatorMessage,
    FilePart,
    Heartbeat,
    Hello,
    Message,
    WorkerMessage,
)

if TYPE_CHECKING:
    from dni_async.launcher.places.ray.workers import RayWorkers

__all__ = ["Outside"]

UNSEEN = -9  # the code of a worker's end that nobody saw: not its own failure, as far as is known
MAX_REST = 4096  # messages that had come when the run ended
MAX_HEARD = 64  # messages in one turn: heartbeats and the ends of processes wait no longer


@dataclass(slots=True)
class Outside:
    """processes: of this host, None where all join from elsewhere. actors: of a cluster, if any.

    part: the part of a file that was heard last, and part_from whom. tickets: of those who are to
    host stages. clock: in seconds; all that happens has its time by it.
    """

    control: ControlServer
    folder: RunFolder
    processes: WorkerProcesses | None
    actors: RayWorkers | None
    part: FilePart | None = None
    part_from: str = ""
    tickets: Tickets = field(default_factory=Tickets)
    clock: Callable[[], float] = time.monotonic
    _broken: set[str] = field(default_factory=set)
    _found: list[RunEvent] = field(default_factory=list)

    def pollers(self) -> tuple[Poller, Poller]:
        """What waits for whatever they do, and what waits for all of that but words."""
        both = Poller(), Poller()
        both[0].watch(self.control)
        for poller in both:
            if self.processes is not None:
                poller.watch(self.processes.fileno())
            if self.actors is not None:
                poller.watch(self.actors.fileno())
        return both

    def hear(self) -> Iterator[RunEvent]:
        """What has happened, up to so many messages; a part is there while its event is handled.

        Raises WorkerDied if no worker can be started any more.
        """
        found, self._found = self._found, []
        yield from found
        if self.processes is not None:
            yield from map(self._of_process, self.processes.hear())
        if self.actors is not None:
            for ended in self.actors.hear():
                yield ActorEnded(self.clock(), ended.stage, ended.code, ended.reason)
        yield from self._words(MAX_HEARD)

    def hear_rest(self) -> Iterator[RunEvent]:
        """What has been said until now and was not heard yet; not without end, if that has none."""
        return self._words(MAX_REST)

    def _words(self, limit: int) -> Iterator[RunEvent]:
        for _ in range(limit):
            event = self._receive()
            if event is None:
                return
            yield event

    def send(self, peer: str, message: CoordinatorMessage) -> None:
        """Send message, if peer is connected; a heartbeat finds out whether it is.

        Who is assigned a stage is given its ticket.
        """
        if isinstance(message, Assigned):
            ticket = self.tickets.issue(message.stage, message.incarnation)
            message = dataclasses.replace(message, ticket=ticket)
        connection, is_beat = peer.encode("latin-1"), isinstance(message, Heartbeat)
        try:  # of heartbeats one that does not read gets no more than its connection holds
            (self.control.offer if is_beat else self.control.send)(connection, message)
            is_connected = True
        except LinkError:
            is_connected = False
        if is_beat and is_connected == (peer in self._broken):
            (self._broken.discard if is_connected else self._broken.add)(peer)
            self._found.append(Reached(self.clock(), peer, is_connected))

    def _receive(self) -> RunEvent | None:
        try:
            received = self.control.receive()
        except WireError as error:
            return Refused(self.clock(), _name(error.peer), str(error))
        return None if received is None else self._of_message(*received)

    def _of_message(self, peer: bytes, message: Message) -> RunEvent:
        now, name = self.clock(), _name(peer)
        if isinstance(message, FilePart):
            self.part, self.part_from = message, name
            return PartHeard(
                now,
                name,
                message.run_id,
                message.stage,
                kind=message.kind,
                batch_id=message.batch_id,
                size_bytes=len(message.data),
                is_last=message.is_last,
            )
        if not isinstance(message, WorkerMessage):
            return Refused(now, name, f"{type(message).__name__} is not for the coordinator")
        if isinstance(message, Hello):
            why = self.tickets.why_wrong(message)
            if why:
                return Refused(now, name, why)
            message = dataclasses.replace(message, ticket="")  # what is heard is written down
        return Heard(now, name, message)

    def _of_process(self, event: Started | Exited) -> RunEvent:
        now = self.clock()
        if isinstance(event, Started):
            return WorkerStarted(now, event.stage, event.pid)
        code = UNSEEN if event.code is None else event.code
        log = self.folder.log(event.stage)
        killer = signal_name(-code) if event.code is not None and code < 0 else ""
        said = last_line(log) if code > 0 else ""
        return WorkerExited(now, event.stage, event.pid, code, killer, str(log), said)


def _name(peer: bytes) -> str:
    """A routing id as text, and back by the same encoding; others may have chosen it."""
    return peer.decode("latin-1")
