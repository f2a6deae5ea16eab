"""The worker's one loop: what arrived becomes events, the machine's actions are performed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from dni_async.decisions.actions import (
    CheckpointDue,
    Drained,
    Event,
    HoldDue,
    HoldOver,
    Idle,
    Save,
    Turn,
)
from dni_async.wire.messages import (
    Bye,
    Drain,
    EpochEntered,
    FileHeard,
    GoOn,
    Hold,
    Message,
    NeighbourReplaced,
    Regroup,
    Regrouped,
    TellAgain,
)
from dni_async.workers.reporting.event_recorder import make_recorder
from dni_async.workers.reporting.instruments import make_instruments
from dni_async.workers.reporting.pace import Pace
from dni_async.workers.reporting.progress import held_bytes, take_stock
from dni_async.workers.saving.outputs import send_outputs, write_profiles
from dni_async.workers.saving.shard_writer import ShardWriter
from dni_async.workers.saving.stage_state import regroup
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.file_courier import FileCourier
from dni_async.workers.startup.seat import Orphaned, Seat, Stopped
from dni_async.workers.training.batches import Batches
from dni_async.workers.training.link_events import LinkEvents
from dni_async.workers.training.link_window import LinkWindow
from dni_async.workers.training.orders import Orders
from dni_async.workers.training.perform import Performer

__all__ = ["Outcome", "WorkerLoop"]

PROGRESS_S: Final = 0.5
CONTROL_S: Final = 0.01  # how long a word of the coordinator's may lie while there is work
LISTEN_S: Final = 0.002  # and a neighbour's: several that are taken in together cost less

Outcome = Literal["worked", "idle", "finished"]


class WorkerLoop:
    """One thread: listen to both links and the coordinator, compute, never wait for a gradient.

    ``run`` is what a process does. Whoever gives the turns by himself calls ``begin``, ``step``
    until that is finished, and ``end``: nothing in them waits, unless files are to be sent. start:
    epoch and index of the first training batch. clock: in seconds; reports and checkpoints go by
    it. writer: of the stage's shards, where it is not a thread that writes them.
    """

    def __init__(
        self,
        seat: Seat,
        equipment: Equipment,
        connections: Connections,
        *,
        start: tuple[int, int] = (1, 0),
        clock: Callable[[], float] = time.perf_counter,
        writer: ShardWriter | None = None,
    ) -> None:
        self._seat = seat
        self._equipment = equipment
        self._control = connections.control
        self._clock = clock
        self._machine = equipment.machine
        self.instruments = make_instruments(seat, equipment, connections.control)
        self._tally, self._spans = self.instruments.tally, self.instruments.spans
        self._telling = self.instruments.epochs.telling
        self._recorder = make_recorder(seat, equipment, start)
        self._decide = (self._recorder or self._machine).handle
        self._pace = Pace(is_known=not seat.config.compile)
        self._writer = writer or ShardWriter(
            Path(seat.welcome.checkpoint_folder), seat.run_id, seat.stage
        )
        self._batches = Batches(seat, equipment, self._spans)
        self._performer = Performer(seat, equipment, self._batches, self.instruments, self._writer)
        self._events = LinkEvents(seat, self._machine, self._batches, self.instruments, connections)
        self._orders = Orders(seat, connections)
        self._link_window = LinkWindow(seat, self._machine, self._tally)
        if self._batches.wake is not None:
            connections.waiting.watch(self._batches.wake)
        self._rss_bytes = 0
        self._next_progress = 0.0
        self._next_control = self._next_listen = 0.0
        self._next_checkpoint = math.inf
        self._first_version = 1
        self._told_first_update = False

    def run(self) -> None:
        """Train until the line has drained.

        Raises Stopped when the coordinator says so or is gone, NonFiniteError, LinkError,
        WireError; whatever is raised, nothing wrong has been applied.
        """
        self.begin()
        try:
            while (outcome := self.step()) != "finished":
                if outcome == "idle":
                    self._wait()
        except Stopped:
            write_profiles(self._seat, self.instruments)
            raise
        finally:
            if self._recorder is not None:  # whatever ended the run, its last event counts
                self._recorder.flush()
        self.end()

    def begin(self) -> None:
        """The run begins here; a source that was told to drain has nothing to begin."""
        self._first_version = self._equipment.stage.version + 1
        self._tally.begin()
        self._send_progress()  # what it starts from
        self._next_progress = self._clock() + PROGRESS_S
        self.instruments.epochs.start()
        self._telling.begin()
        self._plan_checkpoint()
        for order in self._orders.early():
            self._obey(order)

    def step(self) -> Outcome:
        """Hear what has come, then do one thing, if there is one to do without waiting."""
        outcome: Outcome = "worked" if self._listen() else "idle"
        if self._machine.has_turn and not self._awaits_data and self._may_end:
            self._handle(Turn())
            outcome = "worked"
        elif self._machine.finished:
            return "finished"
        elif self._work_ahead():
            outcome = "worked"
        self._tell_first_update()
        self._keep_time()
        return outcome

    def end(self) -> None:
        """The line has drained: leave what was asked for, and say goodbye."""
        self._pace.anything()
        self._send_progress()
        self._batches.close()
        self._writer.finish()
        self._tell_saved()
        self._report()
        write_profiles(self._seat, self.instruments)
        bye = Bye(self._seat.run_id, self._seat.stage)
        if self._seat.courier is None:
            self._control.send(bye)
        else:
            self._send_all(self._seat.courier, bye)

    def _send_all(self, courier: FileCourier, bye: Bye) -> None:
        """Send what was left in files of this host, and say Bye when they have arrived.

        Raises Stopped as run does, for it may take long.
        """
        send_outputs(self._seat, courier)
        while not courier.is_done:
            courier.push()
            heard = self._orders.hear()
            if isinstance(heard, FileHeard):
                courier.hear(heard)
            if self._clock() >= self._next_progress:
                self._report()
            self._orders.wait(CONTROL_S)
        self._control.send(bye)

    def _listen(self) -> bool:
        """Turn everything that has arrived into events; whether there was any from a neighbour."""
        now = self._clock()
        if now >= self._next_control:
            self._next_control = now + CONTROL_S
            self._look_for_launcher()
            self._tell_saved()
            self._obey(self._orders.hear())
        if now < self._next_listen and self._machine.has_turn:
            return False
        self._next_listen = now + LISTEN_S
        has_heard = False
        for event in self._events.arrived():
            has_heard = True
            self._handle(event)
        return has_heard

    def _obey(self, order: Message | None) -> None:
        """Do what the coordinator says, if it says anything."""
        match order:
            case Drain():
                self._handle(Drained())
            case Hold(number=number, batch_id=batch_id, is_over=is_over):
                self._handle(HoldDue(number, batch_id, is_over))
            case GoOn(number=number):
                self._handle(HoldOver(number))
            case Regroup():
                self._regroup(order)
            case NeighbourReplaced() as message:
                moved, event = self._events.turn_to(message)
                if moved is not None:
                    self._control.send(moved)
                self._handle(event)
            case EpochEntered(epoch=epoch):
                self._telling.kept.enter(epoch)
            case TellAgain(epoch=epoch):
                self._telling.tell_again(epoch)

    def _regroup(self, order: Regroup) -> None:
        """Hold other layers from now on; how long that takes is not known. Nothing is in flight."""
        self._pace.anything()
        self._send_progress()
        regroup(order, self._seat, self._equipment, self.instruments.epochs)
        self._control.send(Regrouped(self._seat.run_id, self._seat.stage, order.number))
        self._next_progress = 0.0

    def _handle(self, event: Event) -> None:
        for action in self._decide(event):
            is_foreseen = self._pace.foresee(action)
            if is_foreseen:
                self._send_progress()
            began = self._clock()
            self._performer.perform(action)
            self._pace.did(action, self._clock() - began)
            if is_foreseen:
                self._next_progress = 0.0  # it is over: what follows takes as long as ever
            if self._orders.is_parting and isinstance(action, Save):
                self._writer.finish()
                raise Orphaned("the launcher is gone, and this was its last checkpoint")

    def _work_ahead(self) -> bool:
        """Before waiting: say what was held back, prepare what comes next; False if neither."""
        if self._machine.owes_credits:
            self._handle(Idle())
            return True
        upcoming = self._machine.upcoming
        return upcoming is not None and self._batches.load_ahead(upcoming)

    def _wait(self) -> None:
        self._spans.begin()
        awaits_data = self._machine.has_turn and self._awaits_data
        began = time.perf_counter()
        has_ended = self._orders.wait(max(0.0, self._next_words - self._clock()))
        waited_s = time.perf_counter() - began
        self._batches.calm()
        self._tally.waited(waited_s, for_credits=self._machine.is_blocked, for_data=awaits_data)
        self._spans.lap("wait")
        self._next_control = self._next_listen = 0.0  # it may be what ended the wait
        if has_ended:
            self._look_for_launcher()

    @property
    def _awaits_data(self) -> bool:
        """Source: whether the batch to be taken up is still being made; its epoch has begun."""
        upcoming = self._machine.upcoming
        if upcoming is None or self._seat.inbox is not None:
            return False
        self._performer.expect(upcoming)
        return not self._batches.is_here(upcoming)

    @property
    def _may_end(self) -> bool:
        """Source: unless the end is next and a word is missing; nobody hears those of an orphan."""
        is_end = self._seat.inbox is None and self._machine.is_before_end
        return not is_end or self._orders.is_parting or self._telling.may_end()

    @property
    def _next_words(self) -> float:
        """When there is something to send, by the clock."""
        courier = self._seat.courier
        is_sending = self._writer.has_more or (courier is not None and not courier.is_idle)
        return self._next_control if is_sending else self._next_progress

    def _look_for_launcher(self) -> None:
        """Leave if it is gone: at once, or where checkpoints are made, at the next cut."""
        if self._orders.launcher_has_ended() and self._seat.inbox is None:
            self._handle(CheckpointDue())
        if self._orders.is_parting and self._machine.is_holding:
            self._writer.finish()
            raise Orphaned("the launcher is gone, and all was saved as the line paused")

    def _keep_time(self) -> None:
        """Do what is due now."""
        now = self._clock()
        if now >= self._next_checkpoint:
            self._handle(CheckpointDue())
            self._plan_checkpoint()
        if now >= self._next_progress:
            event = self._link_window.look()
            if event is not None:
                self._handle(event)
            self._report()

    def _plan_checkpoint(self) -> None:
        """Source: when the next checkpoint is due, if they go by time."""
        if self._seat.inbox is None and self._seat.config.checkpoint_s:
            self._next_checkpoint = self._clock() + self._seat.config.checkpoint_s

    def _tell_saved(self) -> None:
        """Tell of shards that are on disk, or failed to get there; where need be, send them."""
        courier = self._seat.courier
        while (saved := self._writer.take()) is not None:
            if courier is None:
                self._control.send(saved)
                continue
            if not saved.reason:
                courier.send_shard(self._writer.path(saved.batch_id), saved.batch_id)
            courier.tell(saved)
        if courier is not None:
            courier.push()

    def _tell_first_update(self) -> None:
        """Report at once that the first update has been made, in a turn or by a gradient."""
        has_updated = self._equipment.stage.version >= self._first_version
        if has_updated and not self._told_first_update:
            self._told_first_update = True
            self._report()

    def _report(self) -> None:
        """Tell how far the stage is, twice a second."""
        self._next_progress = self._clock() + PROGRESS_S
        self._pace.look_back()
        self._send_progress()

    def _send_progress(self) -> None:
        if self._recorder is not None:
            self._recorder.flush()
        self._spans.tell()
        self._rss_bytes = held_bytes(self._rss_bytes)
        stock = take_stock(
            self._seat,
            self._equipment,
            self.instruments.epochs,
            self._tally,
            rss_bytes=self._rss_bytes,
            longest_s=self._pace.told,
        )
        self._control.send(stock)
