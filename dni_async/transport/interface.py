"""What a worker needs of whatever carries its messages: channels, and a way to wait for them.

``sockets`` is what runs between processes and hosts, ``in_memory`` joins stages of one process. A
transport of your own meets ``Transport`` in a module of its own; ``workers.worker`` opens it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dni_async.wire.codec import Buffer
from dni_async.wire.messages import Message

__all__ = ["ControlChannel", "FrameChannel", "Transport", "Waiting"]


class FrameChannel(Protocol):
    """One end of a pair: whole messages as frames, in order, to and from exactly one peer.

    endpoint: where the upper end listens, as SCHEME://REST. near: where it listens too, for a peer
    in the same place; may be empty. key: what the upper end is known by; empty where nobody but
    this user can connect.
    """

    endpoint: str
    near: str
    key: str

    def send(self, frames: Sequence[Buffer]) -> None:
        """Queue frames, which do not change any more; never blocks."""

    def receive(self) -> list[memoryview] | None:
        """The frames of the next message, or None when there is none yet."""


class ControlChannel(Protocol):
    """A worker's end of the control plane."""

    @property
    def silent_s(self) -> float:
        """Seconds since the coordinator was heard last."""

    def send(self, message: Message) -> None:
        """Queue message for the coordinator; never blocks."""

    def offer(self, message: Message) -> bool:
        """Queue message for the coordinator if the connection takes it now; whether it did."""

    def flush(self, timeout_s: float = 0.0) -> bool:
        """Hand what waits to the connection; whether none is left after timeout_s."""

    def receive(self) -> Message | None:
        """The coordinator's next message, or None. Raises WireError."""


class Waiting(Protocol):
    """Waits for any of several channels and file descriptors to have something to read."""

    def watch(self, source: FrameChannel | ControlChannel | int) -> None:
        """Add a channel of the same transport, or a file descriptor."""

    def forget(self, source: FrameChannel | ControlChannel | int) -> None:
        """Take back a watch."""

    def wait(self, timeout_s: float) -> set[int]:
        """Wait at most timeout_s; the readable file descriptors (channels say so themselves).

        May return early with nothing to read.
        """


class Transport(Protocol):
    """Makes the channels of one worker."""

    def control_client(self, address: str, peer: bytes) -> ControlChannel:
        """Connect to the coordinator under the name peer."""

    def listening(self, address: str, near: str = "") -> FrameChannel:
        """The upper end of a link. Raises LinkError when that cannot be."""

    def connected(self, address: str, key: str = "") -> FrameChannel:
        """The lower end of a link, to where the upper one listens by key. Raises LinkError."""

    def waiting(self) -> Waiting:
        """What waits for channels of this transport."""

    def close(self, channel: FrameChannel | ControlChannel) -> None:
        """Close one channel at once; what it has not sent is for nobody any more."""
