"""Channels between stages of one process: the twin of ``sockets``, without one.

What it keeps of the real thing: messages are encoded and decoded by the codec, so that what cannot
travel fails here too; a message arrives whole, in order, once, at exactly one peer; sending never
blocks; what is sent to a channel that was closed is dropped; each link has an endpoint of its own.

What it does not imitate: time (a message has arrived as soon as it is sent), loss, peers that are
strangers, memory that is shared, and frames that are sent uncopied: each arrives as a copy, so that
a sender that changes a tensor too early goes unnoticed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from dni_async.errors import LinkError
from dni_async.transport.interface import ControlChannel, FrameChannel
from dni_async.wire.codec import Buffer, decode, encode
from dni_async.wire.messages import Message

__all__ = ["CoordinatorEnd", "InMemoryTransport", "MemoryChannel", "MemoryControl"]

Frames = list[memoryview]


class MemoryChannel:
    """One end of a link; arrived: what its peer has sent."""

    def __init__(self, endpoint: str, near: str, arrived: deque[Frames]) -> None:
        self.endpoint = endpoint
        self.near = near
        self.key = ""  # nobody else is in this process
        self.is_open = True
        self.peer: MemoryChannel | None = None
        self._arrived = arrived

    def send(self, frames: Sequence[Buffer]) -> None:
        """Have the peer receive a copy, if there is one."""
        if self.peer is not None and self.peer.is_open:
            self.peer._arrived.append([memoryview(bytearray(frame)) for frame in frames])

    def receive(self) -> Frames | None:
        """The frames of the next message, or None."""
        return self._arrived.popleft() if self._arrived else None

    @property
    def num_waiting(self) -> int:
        """Messages that have arrived and were not received yet."""
        return len(self._arrived)


class MemoryControl:
    """A worker's end of the control plane; the coordinator is always there."""

    silent_s = 0.0

    def __init__(self) -> None:
        self.told: deque[list[bytes]] = deque()
        self.ordered: deque[list[bytes]] = deque()

    def send(self, message: Message) -> None:
        """Tell the coordinator."""
        self.told.append([bytes(frame) for frame in encode(message)])

    def offer(self, message: Message) -> bool:
        """Tell the coordinator: it always takes it."""
        self.send(message)
        return True

    def flush(self, timeout_s: float = 0.0) -> bool:
        """Nothing ever waits."""
        return True

    def receive(self) -> Message | None:
        """What the coordinator has said next, or None."""
        return decode(self.ordered.popleft())[0] if self.ordered else None


class CoordinatorEnd:
    """The other end of a worker's control channel, for whoever plays the coordinator."""

    def __init__(self, control: MemoryControl) -> None:
        self._control = control

    def send(self, message: Message) -> None:
        """Have the worker receive message."""
        self._control.ordered.append([bytes(frame) for frame in encode(message)])

    def receive(self) -> Iterator[Message]:
        """What the worker has told since this was asked last."""
        while self._control.told:
            yield decode(self._control.told.popleft())[0]


class NothingToWaitFor:
    """Whoever waits is called again when others have had their turn."""

    def watch(self, source: FrameChannel | ControlChannel | int) -> None:
        """All channels are watched by whoever gives the turns."""

    def forget(self, source: FrameChannel | ControlChannel | int) -> None:
        """As watch."""

    def wait(self, timeout_s: float) -> set[int]:
        """Return at once: in one thread nothing can come meanwhile."""
        return set()


class InMemoryTransport:
    """Joins all workers of one process: each of them is given this one.

    coordinator: of each control channel the other end, by the name that the worker took.
    """

    def __init__(self) -> None:
        self.coordinator: dict[bytes, CoordinatorEnd] = {}
        self._listening: dict[str, MemoryChannel] = {}

    def control_client(self, address: str, peer: bytes) -> MemoryControl:
        """A control channel under the name peer; address says nothing here."""
        control = MemoryControl()
        self.coordinator[peer] = CoordinatorEnd(control)
        return control

    def listening(self, address: str, near: str = "") -> MemoryChannel:
        """The upper end of a link, at an address that nobody listens at. Raises LinkError."""
        if address in self._listening:
            raise LinkError(f"cannot listen on {address}: address already in use")
        channel = self._listening[address] = MemoryChannel(address, near, deque())
        return channel

    def connected(self, address: str, key: str = "") -> MemoryChannel:
        """The lower end of a link. Raises LinkError unless somebody listens, without a peer."""
        upper = self._listening.get(address)
        if upper is None or upper.peer is not None:
            raise LinkError(f"cannot connect to {address}: nobody is waiting there")
        lower = MemoryChannel(address, "", deque())
        lower.peer, upper.peer = upper, lower
        return lower

    def waiting(self) -> NothingToWaitFor:
        """There is nothing that a worker could wait for by itself."""
        return NothingToWaitFor()

    def close(self, channel: FrameChannel | ControlChannel) -> None:
        """Nothing that is sent to it arrives from now on; its address is free."""
        if isinstance(channel, MemoryChannel):
            channel.is_open = False
            if self._listening.get(channel.endpoint) is channel:
                del self._listening[channel.endpoint]
