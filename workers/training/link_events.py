"""What neighbours send, as events for the stage's machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from dni_async.decisions.actions import (
    Arrived,
    Batch,
    Credited,
    Cut,
    Event,
    LinkRemade,
    Mark,
    MarkerReturned,
    Pause,
    Returned,
)
from dni_async.decisions.machines.machine import StageMachine
from dni_async.errors import LinkError
from dni_async.transport.link import Link
from dni_async.wire.messages import (
    Activation,
    BoundaryEpoch,
    CheckpointMark,
    Credit,
    EpochEntered,
    EpochLoss,
    EpochTrained,
    Evaluated,
    InboxMoved,
    LinkHello,
    LinkReady,
    Marker,
    Message,
    NeighbourReplaced,
    ReturnedGradient,
)
from dni_async.workers.reporting.instruments import Instruments
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.neighbours import Neighbours
from dni_async.workers.startup.seat import Seat
from dni_async.workers.training.batches import Batches

__all__ = ["LinkEvents"]

_Events = Iterator[Event]
_Hear = Callable[[Message, list[torch.Tensor]], _Events]


class LinkEvents:
    """Takes in what arrives over both links, and makes them anew when a neighbour was replaced."""

    def __init__(
        self,
        seat: Seat,
        machine: StageMachine,
        batches: Batches,
        instruments: Instruments,
        connections: Connections,
    ) -> None:
        self._seat = seat
        self._machine = machine
        self._batches = batches
        self._instruments = instruments
        self._telling = instruments.epochs.telling
        self._round_trips = instruments.tally.round_trips
        self._neighbours = Neighbours(seat, connections, num_slots=machine.window)

    def arrived(self) -> _Events:
        """What has come, from above and then from below; to be handled one by one as it is given.

        Raises LinkError, WireError for what may not come.
        """
        if self._seat.outbox is not None:
            yield from self._hear(self._seat.outbox, self._from_above)
        if self._seat.inbox is not None:
            yield from self._hear(self._seat.inbox, self._from_below)

    def turn_to(self, message: NeighbourReplaced) -> tuple[InboxMoved | None, LinkRemade]:
        """Exchange the link to a neighbour that has been replaced.

        Gives the answer to the coordinator, if there is one, and the event.
        """
        moved = None
        if message.side == "below":
            moved = self._neighbours.move_inbox(message.incarnation)
            self._telling.part("below")
        else:
            self._neighbours.connect_outbox(message.endpoint, message.key)
            self._telling.meet("above")
            self._round_trips.lose(time.perf_counter())
            self._count_window()
        return moved, LinkRemade(message.side)

    def _hear(self, link: Link, hear: _Hear) -> _Events:
        while True:
            self._instruments.spans.begin()
            received = link.receive()
            if received is None:
                return
            message, tensors = received
            if getattr(message, "run_id", None) != self._seat.run_id:
                raise LinkError(f"stage {self._seat.stage}: message of another run: {message}")
            yield from hear(message, tensors)

    def _from_above(self, message: Message, tensors: list[torch.Tensor]) -> _Events:
        match message:
            case ReturnedGradient():
                self._round_trips.released(message.batch_id, time.perf_counter())
                self._count_window()
                self._batches.take_gradient(message, tensors)
                yield Returned(message.batch_id)
            case Credit():
                now = time.perf_counter()
                for batch_id in message.batch_ids:
                    self._round_trips.released(batch_id, now)
                    self._count_window()
                    yield Credited(batch_id)
            case Marker():
                yield MarkerReturned(_mark_of(message))
            case EpochEntered() | EpochTrained() | EpochLoss() | BoundaryEpoch() | Evaluated():
                self._telling.hear(message, "above")
            case LinkReady() if self._neighbours.hears_ready(message):
                pass  # where it goes on matters to a replacement alone
            case _:
                self._refuse(message, "above")

    def _count_window(self) -> None:
        self._instruments.spans.count("window", self._round_trips.num_in_flight)

    def _from_below(self, message: Message, tensors: list[torch.Tensor]) -> _Events:
        match message:
            case Activation():
                self._batches.take_activation(message, tensors)
                yield Arrived(Batch(message.batch_id, message.purpose, message.anchor))
            case Marker():
                yield Arrived(_mark_of(message))
            case LinkHello() if self._neighbours.hears_hello(message):
                self._neighbours.answer(self._machine.next_batch_id)
                self._telling.meet("below")
            case EpochEntered() | EpochTrained() | EpochLoss() | BoundaryEpoch() | Evaluated():
                self._telling.hear(message, "below")
            case CheckpointMark():
                yield Arrived(Cut(message.batch_id, message.epoch, message.index))
            case _:
                self._refuse(message, "below")

    def _refuse(self, message: Message, side: str) -> None:
        raise LinkError(
            f"stage {self._seat.stage}: {type(message).__name__} came from {side}, "
            "where it may not come from"
        )


def _mark_of(message: Marker) -> Mark:
    if message.kind == "pause":
        return Pause(message.kind, message.epoch, message.next_batch_id, message.index)
    return Mark(message.kind, message.epoch, message.next_batch_id)
