"""A worker's process: the real handshake and the real loop, woken when something has come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from dni_async.decisions.actions import Cut
from dni_async.files.shards import Shard
from dni_async.wire.messages import Message
from dni_async.workers.saving.shard_writer import ShardWriter
from dni_async.workers.startup.assignment import Assignment
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.handshake import (
    Awaited,
    Ear,
    Steps,
    taking_seat,
    waiting_for_start,
)
from dni_async.workers.startup.seat import Orphaned, Seat, Stopped
from dni_async.workers.training.loop import WorkerLoop
from dni_async.workers.training.making import make_loop
from tests.simulation.network import Network, Transport, Waiting
from tests.simulation.scenario import Scenario
from tests.simulation.world import Killed, Process, Violation, World

__all__ = ["Host", "WorkerProcess", "Writer"]

BUILD_S = 0.02  # a stage is built in up to this
LISTEN_S = 0.0003  # to hear what has come
DISK_S = 0.01  # a shard is on disk after up to this


class Host(Protocol):
    """What workers have of the run that they are simulated in."""

    world: World
    network: Network
    scenario: Scenario
    equip: Callable[..., Any]

    def ended(self, worker: WorkerProcess, code: int) -> None:
        """The process has ended; code: minus the signal that killed it."""

    def said(self, worker: WorkerProcess, message: object) -> None:
        """A worker has said a word."""

    def written(self, path: Path) -> None:
        """A shard has been written there."""


class Writer(ShardWriter):
    """Writes shards as the thread does, after a while; a kill finds it at any moment of that."""

    def __init__(self, worker: WorkerProcess, root: Path, run_id: str, stage: int) -> None:
        super().__init__(root, run_id, stage)
        self._worker = worker
        self._begun: tuple[Cut, Shard] | None = None

    def save(self, cut: Cut, shard: Shard) -> None:
        """Begin to write."""
        self.finish()
        self._num_untold += 1
        self._begun = (cut, shard)
        self._worker.world.soon(DISK_S, self._done_if, cut)

    def finish(self) -> None:
        """Have what was begun done."""
        if self._begun is not None:
            (cut, shard), self._begun = self._begun, None
            self._worker.op()
            self.write(cut, shard)
            self._worker.host.written(self.path(cut.batch_id))

    def _done_if(self, cut: Cut) -> None:
        if self._begun is not None and self._begun[0] is cut and self._worker.is_alive:
            self._worker.guarded(self.finish)

    def torn(self) -> None:
        """It was killed: what it was at may be there in part, and never under its name."""
        if self._begun is not None and self._worker.world.random() < 0.5:
            path = self.path(self._begun[0].batch_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(path.name + ".part").write_bytes(b"torn")


class WorkerProcess(Process):
    """One incarnation of a stage, from its first word to its end."""

    def __init__(self, host: Host, assignment: Assignment, pid: int) -> None:
        super().__init__(host.world, assignment.name)
        self.stage, self.incarnation = assignment.stage, assignment.incarnation
        self.pid = pid
        self.transport = Transport(host.network, self)
        self.waiting = Waiting(assignment.lifeline)
        self.writer: Writer | None = None
        self.loop: WorkerLoop | None = None
        self.is_drained = False
        self.host = host
        self._assignment = assignment
        self._busy_until = 0.0
        self._wake_at = -1.0  # when it is to be woken next; -1: not at all
        self._steps: Steps[Any] | None = None
        self._awaited: Awaited | None = None
        self._ear: Ear | None = None
        self._then: Callable[[Any], None] = self._seated
        self._is_waiting = False
        self.has_computed = False
        self.learnt_at: float | None = None

    def begin(self) -> None:
        """The process runs."""
        self.guarded(self._begin)

    def wake(self) -> None:
        """Something has come, to be heard as soon as it is not busy."""
        self._wake_by(max(self.world.now, self._busy_until))

    def said(self, message: object) -> None:
        """As any process; and what it was may be asked for later."""
        super().said(message)
        self.host.said(self, message)

    def launcher_has_ended(self) -> None:
        """The lifeline tells it."""
        self.waiting.has_ended = True
        if self.is_alive:
            self.wake()

    def kill(self) -> None:
        """It ends on the spot."""
        if self.is_alive:
            self._end(-9)

    def guarded(self, what: Callable[[], None]) -> None:
        """Do it as the process does: with its exits."""
        try:
            what()
        except Killed:
            self._end(-9)
        except Orphaned:
            self._end(0)
        except Stopped:
            self._end(0)
        except Violation:
            raise
        except Exception as error:
            raise Violation(
                f"a worker failed: {type(error).__name__}", f"{self.name}: {error}"
            ) from error

    # --- inside --------------------------------------------------------------------------------

    def _begin(self) -> None:
        name = self._assignment.name.encode()
        control: Any = self.transport.control_client(self._assignment.coordinator, name)
        transport: Any = self.transport
        self.connections = Connections(transport, control, self.waiting, self._assignment.lifeline)
        self._ear = Ear(self.stage, self.connections)
        self._go(taking_seat(self.connections, self._assignment), self._seated)

    def _go(self, steps: Steps[Any], then: Callable[[Any], None]) -> None:
        """Go through steps as messages come, then go on with what they come to."""
        self._steps, self._then = steps, then
        self._hand(None)

    def _hand(self, message: Message | None) -> None:
        assert self._steps is not None
        try:
            self._awaited = self._steps.send(message)
        except StopIteration as done:
            self._steps = None
            self._then(done.value)
        else:
            self.wake()

    def _seated(self, seat: Seat) -> None:
        self._seat = seat
        self.world.soon(BUILD_S, self._if_alive, self._built)

    def _if_alive(self, what: Callable[[], None]) -> None:
        if self.is_alive:
            self.guarded(what)

    def _built(self) -> None:
        seat = self._seat
        root = Path(seat.welcome.checkpoint_folder)
        self.writer = Writer(self, root, seat.run_id, seat.stage)
        self.loop = make_loop(
            seat,
            self.connections,
            equip=self.host.equip,
            clock=lambda: self.world.now,
            writer=self.writer,
        )
        self._ear = Ear(self.stage, self.connections)
        self._go(waiting_for_start(seat, self.connections), self._started)

    def _started(self, _: None) -> None:
        assert self.loop is not None
        self.world.note(self.name, "trains")
        self.world.moved()
        self.loop.begin()
        self._is_waiting = False
        self._ear = None
        self.wake()

    def _wake_by(self, when: float) -> None:
        if self._wake_at < 0 or when < self._wake_at:
            self._wake_at = when
            self.world.at(when, self._woken, when)

    def _woken(self, when: float) -> None:
        if when != self._wake_at or not self.is_alive:
            return
        self._wake_at = -1.0
        self.guarded(self._turn)

    def _turn(self) -> None:
        if self._ear is not None:
            self._listen(self._ear)
        elif self.loop is not None:
            self._train(self.loop)

    def _listen(self, ear: Ear) -> None:
        """As Ear.through does."""
        if self._steps is None or self._awaited is None:
            return
        if self.waiting.has_ended:
            raise Orphaned("the launcher is gone")
        control: Any = self.connections.control
        message = ear.heard(self._awaited)
        if message is not None:
            self._hand(message)
        elif control.arrived or getattr(self._awaited.source, "channel", control).arrived:
            self.wake()  # it was another word; the awaited one may be behind it

    def _train(self, loop: WorkerLoop) -> None:
        """As WorkerLoop.run does."""
        world = self.world
        if self._is_waiting:
            self._is_waiting = False
            loop._wait()
        outcome = loop.step()
        if outcome == "finished":
            loop.end()
            self._end(0)
        elif outcome == "worked":
            took_s = LISTEN_S
            if self.has_computed:
                self.has_computed = False
                took_s += self.host.scenario.speed(self.stage) * (0.5 + world.random())
            self._busy_until = world.now + took_s
            self._wake_by(self._busy_until)
        else:
            self._is_waiting = True
            self._busy_until = world.now
            self._wake_by(max(world.now + 1e-6, loop._next_words))

    def _end(self, code: int) -> None:
        if not self.is_alive:
            return
        self.is_alive = False
        self.world.note(self.name, f"ends with {code}")
        if self.writer is not None and code < 0:
            self.writer.torn()
        self.transport.end(is_killed=code < 0)
        self.host.ended(self, code)
