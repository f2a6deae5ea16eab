"""Hello, Welcome, links, Ready, Start: a worker takes its seat in the run."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dni_async.config.run_config import RunConfig
from dni_async.errors import HandshakeError
from dni_async.stage.compilation import COMPILE_S
from dni_async.transport.interface import ControlChannel
from dni_async.transport.link import Link
from dni_async.wire.messages import (
    PROTOCOL,
    Assigned,
    FilePart,
    FileWanted,
    Heartbeat,
    Hello,
    LinkHello,
    LinkReady,
    Message,
    Ready,
    Start,
    Stop,
    Welcome,
)
from dni_async.workers.startup.assignment import Assignment
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.file_courier import FileCourier
from dni_async.workers.startup.neighbours import greet_above
from dni_async.workers.startup.seat import Orphaned, Seat, Stopped

__all__ = ["Awaited", "Ear", "await_start", "join", "taking_seat", "waiting_for_start"]

MAX_TRIES = 3  # to be sent the shard that a stage starts from
OF_HANDSHAKE = (Assigned, Welcome, FilePart, Start)  # all else is an order for who trains
DEADLINE_S = 120.0  # the coordinator's own deadline is shorter and names who is missing


@dataclass(frozen=True, slots=True)
class Awaited:
    """The next word must be of this kind, and come from source; who: that one, for people."""

    source: Link | ControlChannel
    kind: type[Message]
    who: str


T = TypeVar("T")
Steps = Generator[Awaited, Any, T]
"""What is done between words: each yield says what is awaited, and is given that message."""


def join(connections: Connections, assignment: Assignment) -> Seat:
    """Take part in the handshake up to, not including, Ready.

    Raises HandshakeError when the deadline passes, Stopped when the coordinator ends the run.
    """
    # Whose neighbours join from elsewhere waits for them as long as the coordinator does.
    ear = Ear(assignment.stage, connections, is_patient=bool(assignment.interface))
    return ear.through(taking_seat(connections, assignment))


def taking_seat(connections: Connections, assignment: Assignment) -> Steps[Seat]:
    """What join does, without waiting. Raises HandshakeError for who is of another run."""
    stage, run_id = assignment.stage, assignment.run_id
    transport, control, waiting = connections.transport, connections.control, connections.waiting
    listens = assignment.inbox()
    inbox = listens.open(transport) if stage > 0 else None
    control.send(
        Hello(
            protocol=PROTOCOL,
            run_id=run_id,
            stage=stage,
            pid=os.getpid(),
            host=platform.node(),
            endpoint="" if inbox is None else listens.told(inbox),
            incarnation=assignment.incarnation,
            place=listens.place,
            near="" if inbox is None else inbox.channel.near,
            ticket=assignment.ticket,
            key="" if inbox is None else inbox.key,
        )
    )

    welcome: Welcome = yield Awaited(control, Welcome, "the coordinator")
    courier = None
    if assignment.folder:
        courier = FileCourier(control, run_id, stage, Path(assignment.folder))
        welcome = yield from _fetch(courier, welcome, control, stage)
    welcome = assignment.adapt(welcome)
    config = RunConfig.from_dict(welcome.config)
    outbox = None
    if welcome.peer:
        peer = (welcome.peer, welcome.peer_key)
        outbox = greet_above(transport, peer, config, (run_id, stage))
    next_batch_id = welcome.next_batch_id
    if outbox is not None:
        waiting.watch(outbox.channel)
        ready: LinkReady = yield Awaited(outbox, LinkReady, f"stage {stage + 1}")
        if (ready.run_id, ready.stage) != (run_id, stage + 1):
            raise HandshakeError(f"stage {stage}: the link above belongs to another run: {ready}")
        next_batch_id = max(next_batch_id, ready.next_batch_id)
    if inbox is not None:
        waiting.watch(inbox.channel)
        hello: LinkHello = yield Awaited(inbox, LinkHello, f"stage {stage - 1}")
        if (hello.run_id, hello.stage, hello.window) != (run_id, stage - 1, config.places):
            raise HandshakeError(f"stage {stage}: the link below belongs to another run: {hello}")
        inbox.send(LinkReady(run_id, stage, next_batch_id, inbox.slots_at))
    return Seat(
        welcome=welcome,
        config=config,
        stage=stage,
        inbox=inbox,
        outbox=outbox,
        next_batch_id=next_batch_id,
        incarnation=assignment.incarnation,
        listens=listens,
        courier=courier,
    )


def _fetch(
    courier: FileCourier, welcome: Welcome, control: ControlChannel, stage: int
) -> Steps[Welcome]:
    """What welcome says, with files of this host; the shard comes over the control socket.

    Raises HandshakeError where it does not come whole.
    """
    redirected = courier.redirect(welcome)
    if not welcome.shard:
        return redirected
    incoming = courier.incoming()
    for _ in range(MAX_TRIES):
        control.send(FileWanted(welcome.run_id, stage))
        while not incoming.add((yield Awaited(control, FilePart, "the coordinator"))):
            pass
        if incoming.is_whole:
            return dataclasses.replace(redirected, shard=str(incoming.path))
    raise HandshakeError(f"stage {stage}: the shard to start from came damaged {MAX_TRIES} times")


def await_start(seat: Seat, connections: Connections) -> None:
    """Say Ready and wait for Start. Raises Stopped or HandshakeError."""
    deadline_s = seat.config.start_timeout_s + COMPILE_S  # others may still be building
    ear = Ear(seat.stage, connections, deadline_s)
    ear.through(waiting_for_start(seat, connections))


def waiting_for_start(seat: Seat, connections: Connections) -> Steps[None]:
    """What await_start does, without waiting."""
    connections.control.send(Ready(seat.run_id, seat.stage))
    yield Awaited(connections.control, Start, "the coordinator")


class Ear:
    """Hears one message at a time, listening to the coordinator all the while.

    The coordinator need not know how far the handshake is: an order for who trains may come at any
    of its steps, and is kept in ``connections.early``.
    """

    def __init__(
        self,
        stage: int,
        connections: Connections,
        deadline_s: float = DEADLINE_S,
        *,
        is_patient: bool = False,
    ) -> None:
        self._deadline_s = deadline_s
        self._is_patient = is_patient
        self._stage = stage
        self._control = connections.control
        self._early = connections.early
        self._waiting = connections.waiting
        self._lifeline = connections.lifeline
        self._deadline = time.monotonic() + deadline_s

    def through(self, steps: Steps[T]) -> T:
        """Go through the steps, waiting for each message; what they come to."""
        message = None
        while True:
            try:
                awaited = steps.send(message)
            except StopIteration as done:
                result: T = done.value
                return result
            message = self._await(awaited)

    def heard(self, awaited: Awaited) -> Message | None:
        """The awaited message, or None if it is not there yet.

        Raises Stopped where the coordinator says so, HandshakeError where another comes.
        """
        message = self._heard_of_coordinator()
        if awaited.source is not self._control:
            received = awaited.source.receive()
            message = received[0] if isinstance(received, tuple) else received
        if message is None or isinstance(message, awaited.kind):
            return message
        raise HandshakeError(
            f"stage {self._stage}: {awaited.who} sent {type(message).__name__}, "
            f"awaited was {awaited.kind.__name__}"
        )

    def _heard_of_coordinator(self) -> Message | None:
        """Its word, if that is of the handshake; an order is kept. Raises Stopped."""
        message = self._control.receive()
        if isinstance(message, Stop):
            raise Stopped(message.reason, again=message.again)
        if message is None or isinstance(message, OF_HANDSHAKE):
            return message
        if not isinstance(message, Heartbeat):
            self._early.append(message)
        return None

    def _await(self, awaited: Awaited) -> Message:
        while (message := self.heard(awaited)) is None:
            left_s = self._left_s()
            if left_s <= 0:
                raise HandshakeError(
                    f"stage {self._stage}: waited {self._deadline_s:.0f} s "
                    f"for {awaited.kind.__name__} from {awaited.who}"
                )
            if self._lifeline in self._waiting.wait(min(left_s, 1.0)):
                raise Orphaned("the launcher is gone")
        return message

    def _left_s(self) -> float:
        """For how long to wait on; the patient one until the coordinator is silent, or gone."""
        if not self._is_patient:
            return self._deadline - time.monotonic()
        return math.inf if self._lifeline is not None else self._deadline_s - self._control.silent_s
