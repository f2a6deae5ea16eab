"""The worker's one loop: what arrived becomes events, the machine's actions are performed."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from dni_async.decisions.actions import (
    Arrived,
    Batch,
    CheckpointDue,
    Credited,
    Cut,
    Drained,
    Event,
    Idle,
    LinkRemade,
    Mark,
    MarkerReturned,
    Returned,
    Save,
    Turn,
)
from dni_async.errors import LinkError
from dni_async.files import names
from dni_async.files.shards import read_shard
from dni_async.transport.channels import ControlClient
from dni_async.transport.link import Link
from dni_async.transport.sockets import Poller, Sockets
from dni_async.wire.messages import (
    Activation,
    Bye,
    CheckpointMark,
    Credit,
    Drain,
    LinkHello,
    LinkReady,
    Marker,
    Message,
    NeighbourReplaced,
    ReturnedGradient,
    Stop,
)
from dni_async.workers.reporting.epochs import Epochs
from dni_async.workers.reporting.event_recorder import events_path, make_recorder
from dni_async.workers.reporting.progress import take_stock
from dni_async.workers.reporting.spans import KeptSpans, Spans
from dni_async.workers.reporting.tally import Tally
from dni_async.workers.reporting.torch_profile import TorchProfile
from dni_async.workers.saving.shard_writer import ShardWriter
from dni_async.workers.saving.stage_state import restore, start_of
from dni_async.workers.startup.equipment import equip
from dni_async.workers.startup.file_courier import FileCourier
from dni_async.workers.startup.neighbours import Neighbours
from dni_async.workers.startup.seat import Orphaned, Seat, Stopped
from dni_async.workers.training.batches import Batches
from dni_async.workers.training.link_window import LinkWindow
from dni_async.workers.training.perform import Performer

__all__ = ["WorkerLoop"]

PROGRESS_S = 0.5
CONTROL_S = 0.01  # how long a word of the coordinator's may lie while there is work
_Absorb = Callable[[Message, list[torch.Tensor]], None]


class WorkerLoop:
    """One thread: listen to both links and the coordinator, compute, never wait for a gradient."""

    def __init__(
        self,
        seat: Seat,
        sockets: Sockets,
        control: ControlClient,
        poller: Poller,
        lifeline: int | None,
    ) -> None:
        self._seat = seat
        self._control = control
        self._poller = poller
        self._lifeline = lifeline
        self._is_far = lifeline is None
        shard = read_shard(Path(seat.welcome.shard)) if seat.welcome.shard else None
        start = start_of(shard)
        self._equipment = equip(
            seat.stage, seat.welcome, seat.config, start=start, next_batch_id=seat.next_batch_id
        )
        self._machine = self._equipment.machine
        self._neighbours = Neighbours(seat, sockets, poller, num_slots=self._machine.window)
        self._tally = Tally()
        self._link_window = LinkWindow(seat, self._machine, self._tally)
        self._recorder = make_recorder(seat, self._equipment, start)
        self._decide = (self._recorder or self._machine).handle
        self._spans = KeptSpans(self._equipment.stage) if seat.config.profile else Spans()
        self._torch_profile = _torch_profile(seat)
        self._epochs = Epochs(seat, control, self._equipment.boundary)
        if shard is not None:
            restore(shard, seat, self._equipment, self._epochs)
        self._saver = ShardWriter(Path(seat.welcome.checkpoint_folder), seat.run_id, seat.stage)
        self._batches = Batches(seat, self._equipment, self._spans)
        self._performer = Performer(
            seat,
            self._equipment,
            self._batches,
            self._epochs,
            self._tally,
            self._spans,
            self._torch_profile,
            self._saver,
        )
        self._process = psutil.Process()
        self._rss_bytes = 0
        self._next_progress = 0.0
        self._next_control = 0.0
        self._first_version = self._equipment.stage.version + 1
        self._told_first_update = False
        self._next_checkpoint = math.inf
        self._is_parting = False
        self._launcher_end = select.poll()
        if lifeline is not None:
            self._launcher_end.register(lifeline, select.POLLIN)

    def run(self, *, is_drained: bool = False) -> None:
        """Train until the line has drained; a source that is_drained has nothing to begin.

        Raises Stopped when the coordinator says so or is gone, NonFiniteError, LinkError,
        WireError; whatever is raised, nothing wrong has been applied.
        """
        self._tally.begin()
        self._report()  # what it starts from
        self._epochs.start()
        self._plan_checkpoint()
        if is_drained:
            self._handle(Drained())
        try:
            self._train()
        except Stopped:
            self._leave_profiles()
            raise
        finally:
            if self._recorder is not None:  # whatever ended the run, its last event counts
                self._recorder.flush()
        self._saver.finish()
        self._tell_saved()
        self._report()
        self._leave_profiles()
        self._part()

    def _train(self) -> None:
        while True:
            self._listen()
            if self._machine.has_turn:
                self._handle(Turn())
                is_first = self._equipment.stage.version == self._first_version
                if is_first and not self._told_first_update:
                    self._told_first_update = True
                    self._report()
            elif self._machine.finished:
                return
            elif not self._work_ahead():
                self._wait()
            now = time.perf_counter()
            if now >= self._next_checkpoint:
                self._handle(CheckpointDue())
                self._plan_checkpoint()
            if now >= self._next_progress:
                self._set_window()
                self._report()

    def _set_window(self) -> None:
        """Widen or narrow the window of the link above, where that was asked for and is due."""
        event = self._link_window.look()
        if event is not None:
            self._handle(event)

    def _plan_checkpoint(self) -> None:
        """Source: when the next checkpoint is due, if they go by time."""
        if self._seat.inbox is None and self._seat.config.checkpoint_s:
            self._next_checkpoint = time.perf_counter() + self._seat.config.checkpoint_s

    def _tell_saved(self) -> None:
        """Tell of shards that are on disk, or failed to get there; where need be, send them."""
        courier = self._seat.courier
        while (saved := self._saver.take()) is not None:
            if courier is None:
                self._control.send(saved)
                continue
            if not saved.reason:
                courier.send("shard", self._saver.path(saved.batch_id), saved.batch_id)
            courier.tell(saved)
        if courier is not None:
            courier.push()

    def _work_ahead(self) -> bool:
        """Before waiting: say what was held back, prepare what comes next; False if neither."""
        if self._machine.owes_credits:
            self._handle(Idle())
            return True
        upcoming = self._machine.upcoming
        return upcoming is not None and self._batches.load_ahead(upcoming)

    def _listen(self) -> None:
        """Turn everything that has arrived into events."""
        now = time.perf_counter()
        if now >= self._next_control:
            self._next_control = now + CONTROL_S
            self._look_for_launcher()
            self._tell_saved()
            message = self._hear_coordinator()
            if isinstance(message, Drain):
                self._handle(Drained())
            if isinstance(message, NeighbourReplaced):
                self._turn_to(message)
        if self._seat.outbox is not None:
            self._drain(self._seat.outbox, self._from_above)
        if self._seat.inbox is not None:
            self._drain(self._seat.inbox, self._from_below)

    def _hear_coordinator(self) -> Message | None:
        """Its next word. Raises Stopped, also where it is gone."""
        message = self._control.receive()
        if isinstance(message, Stop):
            raise Stopped(message.reason, again=message.again)
        if message is None and self._is_orphan:
            raise Orphaned("the coordinator is gone, or out of reach")
        return message

    @property
    def _is_orphan(self) -> bool:
        """Whether a coordinator elsewhere, who sends heartbeats, was not heard of for too long."""
        config = self._seat.config
        is_far = self._is_far and config.has_remote
        return is_far and self._control.silent_s > config.silent_after_s

    def _turn_to(self, message: NeighbourReplaced) -> None:
        """Exchange the link to a neighbour that has been replaced, and what it stands for."""
        if message.side == "below":
            self._control.send(self._neighbours.move_inbox(message.incarnation))
        else:
            self._neighbours.connect_outbox(message.endpoint)
            self._tally.round_trips.lose(time.perf_counter())
        self._handle(LinkRemade(message.side))

    def _drain(self, link: Link, absorb: _Absorb) -> None:
        while True:
            self._spans.begin()
            received = link.receive()
            if received is None:
                return
            message, tensors = received
            if getattr(message, "run_id", None) != self._seat.run_id:
                raise LinkError(f"stage {self._seat.stage}: message of another run: {message}")
            absorb(message, tensors)

    def _from_above(self, message: Message, tensors: list[torch.Tensor]) -> None:
        match message:
            case ReturnedGradient():
                self._tally.round_trips.released(message.batch_id, time.perf_counter())
                self._batches.take_gradient(message, tensors)
                self._handle(Returned(message.batch_id))
            case Credit():
                now = time.perf_counter()
                for batch_id in message.batch_ids:
                    self._tally.round_trips.released(batch_id, now)
                    self._handle(Credited(batch_id))
            case Marker():
                self._handle(MarkerReturned(Mark(message.kind, message.epoch)))
            case LinkReady() if self._neighbours.hears_ready(message):
                pass  # where it goes on matters to a replacement alone
            case _:
                self._refuse(message, "above")

    def _from_below(self, message: Message, tensors: list[torch.Tensor]) -> None:
        match message:
            case Activation():
                self._batches.take_activation(message, tensors)
                self._handle(Arrived(Batch(message.batch_id, message.purpose, message.anchor)))
            case Marker():
                self._handle(Arrived(Mark(message.kind, message.epoch)))
            case LinkHello() if self._neighbours.hears_hello(message):
                self._neighbours.answer(self._machine.next_batch_id)
            case CheckpointMark():
                self._handle(Arrived(Cut(message.batch_id, message.epoch, message.index)))
            case _:
                self._refuse(message, "below")

    def _refuse(self, message: Message, side: str) -> None:
        raise LinkError(
            f"stage {self._seat.stage}: {type(message).__name__} came from {side}, "
            "where it may not come from"
        )

    def _handle(self, event: Event) -> None:
        for action in self._decide(event):
            self._performer.perform(action)
            if self._is_parting and isinstance(action, Save):
                self._saver.finish()
                raise Orphaned("the launcher is gone, and this was its last checkpoint")

    def _wait(self) -> None:
        self._spans.begin()
        began = time.perf_counter()
        readable = self._poller.wait(max(0.0, self._next_words - began))
        waited_s = time.perf_counter() - began
        self._tally.waited(waited_s, for_credits=self._machine.is_blocked)
        self._spans.lap("wait")
        self._next_control = 0.0  # it may be what ended the wait
        if self._lifeline in readable:
            self._look_for_launcher()

    @property
    def _next_words(self) -> float:
        """When there is something to send, by time.perf_counter."""
        courier = self._seat.courier
        is_sending = courier is not None and not courier.is_done
        return self._next_control if is_sending else self._next_progress

    def _look_for_launcher(self) -> None:
        """Leave if it is gone: at once, or where checkpoints are made, at the next cut.

        The source raises one now. Every stage leaves with its part of the first cut that it takes
        up from now on; as none leaves before it has passed that on, one of them becomes complete.
        """
        if self._lifeline is None or not self._launcher_end.poll(0):
            return
        self._poller.forget(self._lifeline)
        self._lifeline = None
        if not self._seat.config.checkpoint_every:
            raise Orphaned("the launcher is gone")
        self._is_parting = True
        if self._seat.inbox is None:
            self._handle(CheckpointDue())

    def _report(self) -> None:
        self._next_progress = time.perf_counter() + PROGRESS_S
        if self._recorder is not None:
            self._recorder.flush()
        with suppress(OSError):  # asking takes a descriptor; the last answer will do
            self._rss_bytes = self._process.memory_info().rss
        self._control.send(
            take_stock(
                self._seat, self._equipment, self._epochs, self._tally, rss_bytes=self._rss_bytes
            )
        )

    def _part(self) -> None:
        """Send what was left in files that the coordinator cannot see, and say Bye.

        Raises Stopped as run does, for it may take long.
        """
        bye = Bye(self._seat.run_id, self._seat.stage)
        courier = self._seat.courier
        if courier is None:
            self._control.send(bye)
            return
        self._leave_files(courier)
        courier.tell(bye)
        while not courier.is_done:
            courier.push()
            self._hear_coordinator()
            if time.perf_counter() >= self._next_progress:
                self._report()
            self._poller.wait(CONTROL_S)

    def _leave_files(self, courier: FileCourier) -> None:
        welcome = self._seat.welcome
        courier.send("weights", Path(welcome.weights_path))
        courier.send("profile", _profile_path(self._seat))
        courier.send("torch-profile", _torch_profile_path(self._seat))
        if self._recorder is not None:
            self._recorder.flush()
            courier.send("events", events_path(self._seat))

    def _leave_profiles(self) -> None:
        """Write what was recorded, if anything was asked for."""
        seat = self._seat
        self._spans.write(_profile_path(seat), stage=seat.stage, device=seat.welcome.device)
        if self._torch_profile is not None:
            self._torch_profile.finish()


def _torch_profile(seat: Seat) -> TorchProfile | None:
    """The profiler, where this is the stage that it was asked for."""
    if seat.config.torch_profiler != seat.stage:
        return None
    return TorchProfile(_torch_profile_path(seat))


def _profile_path(seat: Seat) -> Path:
    return Path(seat.welcome.profile_folder) / names.spans(seat.stage)


def _torch_profile_path(seat: Seat) -> Path:
    return Path(seat.welcome.profile_folder) / names.torch_profile(seat.stage)
