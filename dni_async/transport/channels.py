"""The ends of connections: control messages and frames, sent and received without blocking.

``transport`` makes their sockets and waits for them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import zmq

from dni_async.errors import LinkError, WireError
from dni_async.transport.door import Door
from dni_async.transport.frame_parts import join_parts, split_frame
from dni_async.transport.gate import Gate
from dni_async.wire.codec import Buffer, decode, encode
from dni_async.wire.messages import Message

__all__ = [
    "Channel",
    "ControlClient",
    "ControlServer",
    "FrameServer",
    "FrameSocket",
    "is_readable",
]

COPY_BYTES: Final = 64 * 1024
SILENT_S: Final = 30.0  # from a peer, until it may have lost its connection unnoticed at this end
# As plain numbers: the enums take longer than the calls they are passed to.
_EVENTS: Final = int(zmq.EVENTS)
_READABLE: Final = int(zmq.POLLIN)
_DONT_WAIT: Final = int(zmq.DONTWAIT)


class FrameSocket:
    """One end of a pair: whole multipart messages, in order, to and from exactly one peer.

    key: the listening end's public key, where strangers can connect to it; then frames travel in
    parts. door: of the listening end, over tcp; it is shut while the peer is there. near: where it
    listens too, for a peer in the same place.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        endpoint: str,
        *,
        gate: Gate | None = None,
        door: Door | None = None,
        key: str = "",
        near: str = "",
    ) -> None:
        self.socket = socket
        self.endpoint = endpoint
        self._door = door
        self._heard_at = time.monotonic()
        self.near = near
        self.key = key
        self.gate = gate

    def send(self, frames: Sequence[Buffer]) -> None:
        """Queue frames; never blocks. Frames from 64 KB up are not copied.

        What is sent to a peer that has gone is dropped: the coordinator sees the end of the
        process, and its word is the first cause.
        """
        if self.key:
            frames = [part for frame in frames for part in split_frame(frame)]
        with suppress(zmq.Again):
            if len(frames) == 1:
                self.socket.send(frames[0])
            else:
                # Handing a small frame over uncopied costs more than copying it.
                is_small = all(len(frame) < COPY_BYTES for frame in frames)
                self.socket.send_multipart(frames, copy=is_small)

    def receive(self) -> list[memoryview] | None:
        """The frames of the next message, uncopied, or None when there is none yet."""
        if self.gate is not None:
            self.gate.answer()
        if not is_readable(self.socket):
            if self._door is not None:
                self._look_out(self._door, time.monotonic())
            return None
        if self._door is not None:  # whoever has something to say is who was awaited
            self._door.await_somebody(False)
            self._heard_at = time.monotonic()
        # Not recv_multipart: it asks the socket after each frame what the frame itself knows.
        frame = self.socket.recv(_DONT_WAIT, copy=False)
        frames = [frame.buffer]
        while frame.more:
            frame = self.socket.recv(_DONT_WAIT, copy=False)
            frames.append(frame.buffer)
        return join_parts(frames) if self.key else frames

    def _look_out(self, door: Door, now: float) -> None:
        """Open where the peer has gone, or may have without a word: it would connect again."""
        if door.look(now) or now - self._heard_at > SILENT_S:
            door.await_somebody(True)


class FrameServer:
    """Listens for any number of peers: multipart messages, none of 256 KB, and whose each is.

    key: as of FrameSocket. door: over tcp.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        endpoint: str,
        key: str = "",
        *,
        gate: Gate | None = None,
        door: Door | None = None,
    ) -> None:
        self.socket = socket
        self.endpoint = endpoint
        self.key = key
        self.gate = gate
        self._door = door

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """Queue frames for peer; never blocks. Raises LinkError when peer is not connected."""
        try:
            self.socket.send_multipart([peer, *frames])
        except zmq.ZMQError as error:
            raise LinkError("the peer is not connected") from error

    def receive(self) -> tuple[bytes, list[memoryview]] | None:
        """The next (peer, frames), uncopied, or None."""
        if self._door is not None:
            self._door.look(time.monotonic())
        if self.gate is not None:
            self.gate.answer()
        if not is_readable(self.socket):
            return None
        peer, *frames = self.socket.recv_multipart(_DONT_WAIT, copy=False)
        return peer.bytes, [frame.buffer for frame in frames]


class ControlClient:
    """A worker's end of the control plane.

    The connection takes a bounded number of messages. Words beyond it wait here; parts of files,
    which would fill any memory, are offered, and offered again later.
    """

    gate = None

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self._heard_at = time.monotonic()
        self._waiting: deque[Sequence[Buffer]] = deque()

    def send(self, message: Message) -> None:
        """Queue message for the coordinator; never blocks."""
        self._waiting.append(encode(message))
        self.flush()

    def offer(self, message: Message) -> bool:
        """Queue message for the coordinator if the connection takes it now; whether it did."""
        return self.flush() and self._hand_over(encode(message))

    def flush(self, timeout_s: float = 0.0) -> bool:
        """Hand the words that wait to the connection; whether none is left after timeout_s."""
        deadline = time.monotonic() + timeout_s
        while self._waiting:
            if self._hand_over(self._waiting[0]):
                self._waiting.popleft()
            elif not self._is_writable_by(deadline):
                return False
        return True

    def _is_writable_by(self, deadline: float) -> bool:
        left_ms = int((deadline - time.monotonic()) * 1000)
        return left_ms > 0 and bool(self.socket.poll(left_ms, zmq.POLLOUT))

    def _hand_over(self, frames: Sequence[Buffer]) -> bool:
        try:
            self.socket.send_multipart(frames)
        except zmq.Again:
            return False
        return True

    @property
    def silent_s(self) -> float:
        """Seconds since the coordinator was heard last."""
        return time.monotonic() - self._heard_at

    def receive(self) -> Message | None:
        """The coordinator's next message, or None. Raises WireError."""
        self.flush()
        if not is_readable(self.socket):
            return None
        self._heard_at = time.monotonic()
        message, _ = decode(self.socket.recv_multipart())
        return message


class ControlServer:
    """The coordinator's end: tells workers apart by the routing id that each one connects with.

    A connection takes a bounded number of messages, as a ControlClient's does. door: over tcp.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        endpoint: str,
        *,
        gate: Gate | None = None,
        door: Door | None = None,
    ) -> None:
        self.socket = socket
        self.endpoint = endpoint
        self.gate = gate
        self._door = door
        self._waiting: dict[bytes, deque[Sequence[Buffer]]] = {}

    def await_workers(self, are_awaited: bool) -> None:
        """Whether anybody may connect who has not yet."""
        if self._door is not None:
            self._door.await_somebody(are_awaited)

    def send(self, peer: bytes, message: Message) -> None:
        """Queue message for peer; never blocks. Raises LinkError when peer is not connected."""
        frames = encode(message)
        if not self._flush(peer) or not self._hand_over(peer, frames):
            self._waiting.setdefault(peer, deque()).append(frames)

    def offer(self, peer: bytes, message: Message) -> bool:
        """Queue message for peer if its connection takes it now; whether it did.

        Raises LinkError when peer is not connected.
        """
        return self._flush(peer) and self._hand_over(peer, encode(message))

    def _flush(self, peer: bytes) -> bool:
        """Whether no word waits for peer any more."""
        while self._waiting.get(peer):
            if not self._hand_over(peer, self._waiting[peer][0]):
                return False
            self._waiting[peer].popleft()
        self._waiting.pop(peer, None)
        return True

    def _hand_over(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        try:
            self.socket.send_multipart([peer, *frames])
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            self._waiting.pop(peer, None)
            raise LinkError(f"worker {peer.decode(errors='replace')} is not connected") from error
        return True

    def receive(self) -> tuple[bytes, Message] | None:
        """The next (peer, message), or None. Raises WireError, which names the peer."""
        for waited_for in list(self._waiting):
            with suppress(LinkError):  # it has gone, and what waited for it goes too
                self._flush(waited_for)
        if self._door is not None:
            self._door.look(time.monotonic())
        if self.gate is not None:
            self.gate.answer()
        if not is_readable(self.socket):
            return None
        peer, *frames = self.socket.recv_multipart()
        try:
            message, _ = decode(frames)
        except WireError as error:
            raise WireError(str(error), peer) from None
        return peer, message


Channel = FrameSocket | FrameServer | ControlClient | ControlServer


def is_readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message has come; to be asked before any wait for the socket's descriptor."""
    events = socket.get(_EVENTS)
    assert isinstance(events, int)
    return bool(events & _READABLE)
