"""The worker's one loop: what arrived becomes events, the machine's actions are performed."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import torch

from dni_async.decisions.actions import (
    Arrived,
    Batch,
    Credited,
    Event,
    Mark,
    MarkerReturned,
    Returned,
    Turn,
)
from dni_async.errors import LinkError
from dni_async.link import Link
from dni_async.messages import (
    Activation,
    Bye,
    Credit,
    Marker,
    Message,
    Progress,
    ReturnedGradient,
    Stop,
)
from dni_async.transport import ControlClient, Poller
from workers.build import equip
from workers.handshake import Seat, Stopped
from workers.perform import Performer

__all__ = ["WorkerLoop"]

PROGRESS_S = 0.5
_Absorb = Callable[[Message, list[torch.Tensor]], None]


class WorkerLoop:
    """One thread: listen to both links and the coordinator, compute, never wait for a gradient."""

    def __init__(
        self, seat: Seat, control: ControlClient, poller: Poller, lifeline: int | None
    ) -> None:
        self._seat = seat
        self._control = control
        self._poller = poller
        self._lifeline = lifeline
        self._equipment = equip(seat.stage, seat.welcome, seat.config)
        self._machine = self._equipment.machine
        self._performer = Performer(seat, self._equipment, control)
        self._process = psutil.Process()
        self._began = 0.0
        self._waiting_s = 0.0
        self._next_progress = 0.0

    def run(self) -> None:
        """Train until the line has drained.

        Raises Stopped when the coordinator says so or is gone, NonFiniteError, LinkError,
        WireError; whatever is raised, nothing wrong has been applied.
        """
        self._began = time.perf_counter()
        while not self._machine.finished:
            self._listen()
            if self._machine.has_turn:
                self._handle(Turn())
            elif not self._machine.finished:
                self._wait()
            if time.perf_counter() >= self._next_progress:
                self._report()
        self._report()
        self._control.send(Bye(self._seat.run_id, self._seat.stage))

    def _listen(self) -> None:
        """Turn everything that has arrived into events."""
        message = self._control.receive()
        if isinstance(message, Stop):
            raise Stopped(message.reason)
        if self._seat.outbox is not None:
            self._drain(self._seat.outbox, self._from_above)
        if self._seat.inbox is not None:
            self._drain(self._seat.inbox, self._from_below)

    def _drain(self, link: Link, absorb: _Absorb) -> None:
        while (received := link.receive()) is not None:
            message, tensors = received
            if getattr(message, "run_id", None) != self._seat.run_id:
                raise LinkError(f"stage {self._seat.stage}: message of another run: {message}")
            absorb(message, tensors)

    def _from_above(self, message: Message, tensors: list[torch.Tensor]) -> None:
        match message:
            case ReturnedGradient():
                self._performer.take_gradient(message, tensors)
                self._handle(Returned(message.batch_id))
            case Credit():
                self._handle(Credited(message.batch_id))
            case Marker():
                self._handle(MarkerReturned(Mark(message.kind, message.epoch)))
            case _:
                self._refuse(message, "above")

    def _from_below(self, message: Message, tensors: list[torch.Tensor]) -> None:
        match message:
            case Activation():
                self._performer.take_activation(message, tensors)
                self._handle(Arrived(Batch(message.batch_id, message.purpose, message.anchor)))
            case Marker():
                self._handle(Arrived(Mark(message.kind, message.epoch)))
            case _:
                self._refuse(message, "below")

    def _refuse(self, message: Message, side: str) -> None:
        raise LinkError(
            f"stage {self._seat.stage}: {type(message).__name__} came from {side}, "
            "where it may not come from"
        )

    def _handle(self, event: Event) -> None:
        for action in self._machine.handle(event):
            self._performer.perform(action)

    def _wait(self) -> None:
        began = time.perf_counter()
        readable = self._poller.wait(max(0.0, self._next_progress - began))
        self._waiting_s += time.perf_counter() - began
        if self._lifeline in readable:
            raise Stopped("the launcher is gone")

    def _report(self) -> None:
        now = time.perf_counter()
        self._next_progress = now + PROGRESS_S
        performer = self._performer
        busy_s = now - self._began - self._waiting_s - performer.sending_s
        self._control.send(
            Progress(
                run_id=self._seat.run_id,
                stage=self._seat.stage,
                updates=self._equipment.stage.version,
                epoch=performer.epoch,
                busy_s=busy_s,
                waiting_s=self._waiting_s,
                sending_s=performer.sending_s,
                loss=performer.mean_loss,
                max_staleness=performer.max_staleness,
                max_pending=self._machine.max_pending,
                rss_bytes=self._process.memory_info().rss,
            )
        )
