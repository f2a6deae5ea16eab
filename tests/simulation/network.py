"""A network between processes: whole messages, in order on each connection, after a while."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dni_async.wire.codec import Buffer
from dni_async.wire.messages import Hello, Message, Progress
from tests.simulation.world import Process, Violation, World

__all__ = ["Channel", "Control", "Network", "Transport", "Waiting", "Wire", "short"]


class Wire:
    """One direction of a connection. Who is killed may have said more than is ever heard of it.

    stalled_until: nothing arrives before then, for the way is cut, and heals.
    """

    __slots__ = ("_last", "_lost_from", "_num_heard", "_num_said", "network", "stalled_until", "to")

    def __init__(self, network: Network) -> None:
        self.network = network
        self.to: Any = None  # what hears: has hear(item)
        self.stalled_until = 0.0
        self._last = 0.0
        self._num_said = self._num_heard = 0
        self._lost_from: int | None = None

    def say(self, item: object) -> None:
        """Have item heard at the other end."""
        world = self.network.world
        when = world.now + self.network.delay_s()
        self._last = when = max(when, self._last, self.stalled_until)
        self._num_said += 1
        world.at(when, self._deliver, self._num_said, item)

    def _deliver(self, number: int, item: object) -> None:
        self._num_heard = number
        if self.to is not None and (self._lost_from is None or number < self._lost_from):
            self.to.hear(item)

    def lose_some(self) -> None:
        """Who speaks was killed: of what is under way, the last part may never have left."""
        under_way = self._num_said - self._num_heard
        if under_way and self._lost_from is None:
            draw = self.network.world.draw
            self._lost_from = self._num_heard + 1 + draw.randint(0, under_way)


@dataclass(eq=False)
class Channel:
    """One end of a link, as FrameChannel is."""

    owner: Process
    endpoint: str
    near: str = ""
    key: str = ""
    is_open: bool = True
    is_taken: bool = False
    out: Wire | None = None
    arrived: deque[list[memoryview]] = field(default_factory=deque)

    def send(self, frames: Sequence[Buffer]) -> None:
        """Have the peer receive it, if there is one."""
        self.owner.op()
        if self.out is not None:
            self.out.say([memoryview(bytes(frame)) for frame in frames])

    def hear(self, frames: list[memoryview]) -> None:
        """It is here."""
        if self.is_open and self.owner.is_alive:
            self.arrived.append(frames)
            self.owner.wake()

    def receive(self) -> list[memoryview] | None:
        """The frames of the next message, or None."""
        return self.arrived.popleft() if self.arrived else None


class Control:
    """A worker's end of the control plane, as ControlChannel is."""

    def __init__(self, owner: Process, peer: str) -> None:
        self.owner = owner
        self.peer = peer
        self.out: Wire | None = None
        self.back: Wire | None = None
        self.is_open = True
        self.heard_at = owner.world.now
        self.arrived: deque[Message] = deque()

    @property
    def silent_s(self) -> float:
        """For how long nothing has come."""
        return self.owner.world.now - self.heard_at

    def send(self, message: Message) -> None:
        """Tell the coordinator."""
        self.owner.op()
        if isinstance(message, Hello):  # all are of one process here
            message = dataclasses.replace(message, pid=self.owner.pid)
        world = self.owner.world
        if world.events is not None:
            world.note(self.owner.name, f"says {short(message)}")
        if self.out is not None and self.is_open:
            self.out.say((self.peer, message))
        if not isinstance(message, Progress):
            self.owner.said(message)

    def offer(self, message: Message) -> bool:
        """As send: it is always taken."""
        self.send(message)
        return True

    def flush(self, timeout_s: float = 0.0) -> bool:
        """What was said leaves by itself."""
        return True

    def hear(self, message: Message) -> None:
        """It is here."""
        if self.is_open and self.owner.is_alive:
            self.heard_at = self.owner.world.now
            self.arrived.append(message)
            self.owner.wake()

    def receive(self) -> Message | None:
        """What the coordinator has said next, or None."""
        return self.arrived.popleft() if self.arrived else None


class Network:
    """Who listens where. latency_s: the longest that a message takes."""

    def __init__(self, world: World, latency_s: float) -> None:
        self.world = world
        self.latency_s = latency_s
        self.listening: dict[str, Channel] = {}
        self.ports = itertools.count(1024)
        self.launcher: Any = None  # has connect(control); None: nobody is there

    def delay_s(self) -> float:
        """How long the next message takes."""
        return self.latency_s * self.world.random()

    def wire(self, to: object) -> Wire:
        """A new one."""
        wire = Wire(self)
        wire.to = to
        return wire


class Waiting:
    """Who waits is woken; lifeline: a descriptor that ends with the launcher."""

    def __init__(self, lifeline: int | None) -> None:
        self._lifeline = lifeline
        self.has_ended = False
        self._watched: set[int] = set() if lifeline is None else {lifeline}

    def watch(self, source: object) -> None:
        """All are."""

    def forget(self, source: object) -> None:
        """But for this one."""
        if isinstance(source, int):
            self._watched.discard(source)

    def wait(self, timeout_s: float) -> set[int]:
        """What can be read by now."""
        return set(self._watched) if self.has_ended else set()


class Transport:
    """A process's way to others, as Transport is."""

    def __init__(self, network: Network, owner: Process) -> None:
        self._network = network
        self._owner = owner
        self.channels: list[Channel] = []
        self.controls: list[Control] = []

    def control_client(self, address: str, peer: bytes) -> Control:
        """To the coordinator."""
        control = Control(self._owner, peer.decode())
        self.controls.append(control)
        if self._network.launcher is not None:
            self._network.launcher.connect(control)
        return control

    def listening(self, address: str, *_: object, **__: object) -> Channel:
        """The upper end of a link."""
        endpoint = f"{address.rpartition(':')[0]}:{next(self._network.ports)}"
        channel = Channel(self._owner, endpoint)
        self._network.listening[endpoint] = channel
        self.channels.append(channel)
        return channel

    def connected(self, address: str, *_: object, **__: object) -> Channel:
        """The lower end of a link; where nobody listens, all that is sent is lost."""
        lower = Channel(self._owner, address)
        self.channels.append(lower)
        upper = self._network.listening.get(address)
        if upper is None:
            return lower
        if upper.is_taken:
            raise Violation("two outboxes at one inbox", address)
        upper.is_taken = True
        lower.out, upper.out = self._network.wire(upper), self._network.wire(lower)
        return lower

    def waiting(self) -> Waiting:
        """Nothing is waited for here."""
        return Waiting(None)

    def close(self, channel: Channel | Control) -> None:
        """Nothing more is heard here."""
        channel.is_open = False
        if isinstance(channel, Channel):
            self._network.listening.pop(channel.endpoint, None) if self._is_upper(channel) else None

    def _is_upper(self, channel: Channel) -> bool:
        return self._network.listening.get(channel.endpoint) is channel

    def end(self, *, is_killed: bool) -> None:
        """The process has ended."""
        for channel in self.channels:
            self.close(channel)
            if is_killed and channel.out is not None:
                channel.out.lose_some()
        for control in self.controls:
            control.is_open = False
            if is_killed and control.out is not None:
                control.out.lose_some()


def short(message: object) -> str:
    """A message in a line, without what says little."""
    kind = type(message).__name__
    shown = ("stage", "epoch", "batch_id", "index", "incarnation", "side", "endpoint", "reason",
             "num_samples", "summary", "kind", "is_last")  # fmt: skip
    parts = [f"{n}={getattr(message, n)!r}" for n in shown if hasattr(message, n)]
    return f"{kind}({', '.join(parts)})"
