"""Hello, Welcome, links, Ready, Start: a worker takes its seat in the run."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import time
from pathlib import Path
from typing import TypeVar

from dni_async.config.run_config import RunConfig
from dni_async.errors import HandshakeError
from dni_async.stage.compilation import COMPILE_S
from dni_async.transport.interface import ControlChannel
from dni_async.transport.link import Link
from dni_async.wire.messages import (
    PROTOCOL,
    Drain,
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
from dni_async.workers.startup.file_courier import FileCourier, sees_run
from dni_async.workers.startup.neighbours import greet_above
from dni_async.workers.startup.seat import Orphaned, Seat, Stopped

__all__ = ["await_start", "join"]

M = TypeVar("M", bound=Message)

DEADLINE_S = 120.0  # the coordinator's own deadline is shorter and names who is missing


def join(connections: Connections, assignment: Assignment) -> Seat:
    """Take part in the handshake up to, not including, Ready.

    Raises HandshakeError when the deadline passes, Stopped when the coordinator ends the run.
    """
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
        )
    )
    # Whose neighbours join from elsewhere waits for them as long as the coordinator does.
    is_patient = bool(assignment.interface)
    wait = _Wait(stage, connections, is_patient=is_patient)

    welcome = wait.hear(control, Welcome, "the coordinator")
    courier = None
    if assignment.folder and not sees_run(welcome):
        courier = FileCourier(control, run_id, stage, Path(assignment.folder))
        welcome = _fetch(courier, welcome, control, wait)
    welcome = assignment.adapt(welcome)
    config = RunConfig.from_dict(welcome.config)
    outbox = None
    if welcome.peer:
        outbox = greet_above(transport, welcome.peer, config, (run_id, stage))
    next_batch_id = welcome.next_batch_id
    if outbox is not None:
        waiting.watch(outbox.channel)
        ready = wait.hear(outbox, LinkReady, f"stage {stage + 1}")
        if (ready.run_id, ready.stage) != (run_id, stage + 1):
            raise HandshakeError(f"stage {stage}: the link above belongs to another run: {ready}")
        next_batch_id = max(next_batch_id, ready.next_batch_id)
    if inbox is not None:
        waiting.watch(inbox.channel)
        hello = wait.hear(inbox, LinkHello, f"stage {stage - 1}")
        if (hello.run_id, hello.stage, hello.window) != (run_id, stage - 1, config.places):
            raise HandshakeError(f"stage {stage}: the link below belongs to another run: {hello}")
        inbox.send(LinkReady(run_id, stage, next_batch_id))
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


def _fetch(courier: FileCourier, welcome: Welcome, control: ControlChannel, wait: _Wait) -> Welcome:
    """What welcome says, with files of this host; the shard comes over the control socket."""
    redirected = courier.redirect(welcome)
    if not welcome.shard:
        return redirected
    control.send(FileWanted(welcome.run_id, wait.stage))
    incoming = courier.incoming()
    while not incoming.add(wait.hear(control, FilePart, "the coordinator")):
        pass
    return dataclasses.replace(redirected, shard=str(incoming.path))


def await_start(seat: Seat, connections: Connections) -> bool:
    """Say Ready and wait for Start; whether Drain came before it, as to a source that takes the
    place of one in a run that is ending early. Raises Stopped or HandshakeError.
    """
    connections.control.send(Ready(seat.run_id, seat.stage))
    deadline_s = seat.config.start_timeout_s + COMPILE_S  # others may still be building
    wait = _Wait(seat.stage, connections, deadline_s)
    wait.hear(connections.control, Start, "the coordinator")
    return wait.is_drained


class _Wait:
    """Waits for one message at a time, listening to the coordinator all the while."""

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
        self.stage = stage
        self.is_drained = False
        self._control = connections.control
        self._waiting = connections.waiting
        self._lifeline = connections.lifeline
        self._deadline = time.monotonic() + deadline_s

    def hear(self, source: Link | ControlChannel, kind: type[M], who: str) -> M:
        """The next message from source, which must be of that kind."""
        while True:
            message = self._next(source)
            if isinstance(message, kind):
                return message
            if message is not None:
                raise HandshakeError(
                    f"stage {self.stage}: {who} sent {type(message).__name__}, "
                    f"awaited was {kind.__name__}"
                )
            left_s = self._left_s()
            if left_s <= 0:
                raise HandshakeError(
                    f"stage {self.stage}: waited {self._deadline_s:.0f} s "
                    f"for {kind.__name__} from {who}"
                )
            if self._lifeline in self._waiting.wait(min(left_s, 1.0)):
                raise Orphaned("the launcher is gone")

    def _left_s(self) -> float:
        """For how long to wait on; the patient one until the coordinator is silent, or gone."""
        if not self._is_patient:
            return self._deadline - time.monotonic()
        return math.inf if self._lifeline is not None else self._deadline_s - self._control.silent_s

    def _next(self, source: Link | ControlChannel) -> Message | None:
        if source is not self._control:
            stop = self._control.receive()
            if isinstance(stop, Stop):
                raise Stopped(stop.reason, again=stop.again)
        received = source.receive()
        message = received[0] if isinstance(received, tuple) else received
        if isinstance(message, Stop):
            raise Stopped(message.reason, again=message.again)
        self.is_drained = self.is_drained or isinstance(message, Drain)
        return None if isinstance(message, Heartbeat | Drain) else message
