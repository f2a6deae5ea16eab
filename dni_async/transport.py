"""Sockets: control between coordinator and workers, frames between neighbours.

The only module that knows ZeroMQ. Every socket has one peer (the coordinator's ROUTER apart),
never blocks on sending (the window bounds what is in flight) and lingers a bounded time.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import zmq

from dni_async.errors import LinkError
from dni_async.messages import Message
from dni_async.wire import MAX_TENSOR_BYTES, Buffer, decode, encode

__all__ = [
    "ControlClient",
    "ControlServer",
    "FrameSocket",
    "Poller",
    "Sockets",
    "open_sockets",
]

COPY_BYTES: Final = 64 * 1024
# As plain numbers: the enums take longer than the calls they are passed to.
_EVENTS: Final = int(zmq.EVENTS)
_FD: Final = int(zmq.FD)
_READABLE: Final = int(zmq.POLLIN)
_DONT_WAIT: Final = int(zmq.DONTWAIT)
LINGER_MS: Final = 2000  # long enough for last words, short enough for Ctrl-C


class FrameSocket:
    """One end of a pair: whole multipart messages, in order, to and from exactly one peer."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self.socket = socket
        self.endpoint = endpoint

    def send(self, frames: Sequence[Buffer]) -> None:
        """Queue frames; never blocks. Frames from 64 KB up are not copied.

        What is sent to a peer that has gone is dropped: the coordinator sees the end of the
        process, and its word is the first cause.
        """
        with suppress(zmq.Again):
            if len(frames) == 1:
                self.socket.send(frames[0])
            else:
                # Handing a small frame over uncopied costs more than copying it.
                is_small = all(len(frame) < COPY_BYTES for frame in frames)
                self.socket.send_multipart(frames, copy=is_small)

    def receive(self) -> list[memoryview] | None:
        """The frames of the next message, uncopied, or None when there is none yet."""
        if not _is_readable(self.socket):
            return None
        # Not recv_multipart: it asks the socket after each frame what the frame itself knows.
        frame = self.socket.recv(_DONT_WAIT, copy=False)
        frames = [frame.buffer]
        while frame.more:
            frame = self.socket.recv(_DONT_WAIT, copy=False)
            frames.append(frame.buffer)
        return frames


class ControlClient:
    """A worker's end of the control plane."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket

    def send(self, message: Message) -> None:
        """Queue message for the coordinator; never blocks."""
        self.socket.send_multipart(encode(message))

    def receive(self) -> Message | None:
        """The coordinator's next message, or None. Raises WireError."""
        if not _is_readable(self.socket):
            return None
        message, _ = decode(self.socket.recv_multipart())
        return message


class ControlServer:
    """The coordinator's end: tells workers apart by the routing id that each one connects with."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self.socket = socket
        self.endpoint = endpoint

    def send(self, peer: bytes, message: Message) -> None:
        """Queue message for peer. Raises LinkError when peer is not connected."""
        try:
            self.socket.send_multipart([peer, *encode(message)])
        except zmq.ZMQError as error:
            raise LinkError(f"worker {peer.decode(errors='replace')} is not connected") from error

    def receive(self) -> tuple[bytes, Message] | None:
        """The next (peer, message), or None. Raises WireError."""
        if not _is_readable(self.socket):
            return None
        peer, *frames = self.socket.recv_multipart()
        message, _ = decode(frames)
        return peer, message


class Poller:
    """Waits for any of several sockets and file descriptors to become readable.

    A socket's own file descriptor says only that something may have changed since the socket was
    last asked, so each is asked before the wait. ``zmq.Poller`` asks everything twice.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._sockets: dict[int, zmq.Socket[bytes]] = {}

    def watch(self, source: FrameSocket | ControlClient | ControlServer | int) -> None:
        """Add a socket's owner or a file descriptor."""
        fd = _fd_of(source)
        if not isinstance(source, int):
            self._sockets[fd] = source.socket
        self._poll.register(fd, select.POLLIN)

    def forget(self, source: FrameSocket | ControlClient | ControlServer | int) -> None:
        """Take back a watch."""
        fd = _fd_of(source)
        self._sockets.pop(fd, None)
        self._poll.unregister(fd)

    def wait(self, timeout_s: float) -> set[int]:
        """Wait at most timeout_s; the readable file descriptors (sockets say so themselves).

        May return early with nothing to read.
        """
        if any(_is_readable(socket) for socket in self._sockets.values()):
            timeout_s = 0.0
        ready = self._poll.poll(max(0.0, timeout_s * 1000))
        return {fd for fd, _ in ready if fd not in self._sockets}


class Sockets:
    """Makes sockets with the options that every part of the system relies on."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context = context
        self._sockets: list[zmq.Socket[bytes]] = []  # one that nobody holds closes unasked

    def control_server(self, address: str) -> ControlServer:
        """Listen for workers on address (ipc://PATH, or tcp://HOST:0 for any free port)."""
        socket = self._make(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        return ControlServer(socket, _bind(socket, address))

    def control_client(self, address: str, peer: bytes) -> ControlClient:
        """Connect to the coordinator under the routing id peer."""
        socket = self._make(zmq.DEALER)
        socket.setsockopt(zmq.ROUTING_ID, peer)
        _connect(socket, address)
        return ControlClient(socket)

    def listening(self, address: str) -> FrameSocket:
        """The end that listens."""
        socket = self._make(zmq.DEALER)
        return FrameSocket(socket, _bind(socket, address))

    def connected(self, address: str) -> FrameSocket:
        """The end that connects."""
        socket = self._make(zmq.DEALER)
        _connect(socket, address)
        return FrameSocket(socket, address)

    def close(self, channel: FrameSocket) -> None:
        """Close one socket at once; what it has not sent is for nobody any more."""
        self._sockets.remove(channel.socket)
        channel.socket.close(linger=0)

    def _make(self, kind: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        self._sockets.append(socket)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDTIMEO, 0)  # a listening socket whose peer is gone would block
        # The window bounds what is queued; a high-water mark here could only block or lose.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_TENSOR_BYTES)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        return socket


@contextmanager
def open_sockets() -> Iterator[Sockets]:
    """Sockets for this process; on leaving, all are closed after their bounded linger."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        yield Sockets(context)
    finally:
        context.destroy(linger=LINGER_MS)


def _fd_of(source: FrameSocket | ControlClient | ControlServer | int) -> int:
    if isinstance(source, int):
        return source
    fd = source.socket.get(_FD)
    assert isinstance(fd, int)
    return fd


def _is_readable(socket: zmq.Socket[bytes]) -> bool:
    events = socket.get(_EVENTS)
    assert isinstance(events, int)
    return bool(events & _READABLE)


def _connect(socket: zmq.Socket[bytes], address: str) -> None:
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise LinkError(f"cannot connect to {address}: {error.strerror}") from error


def _bind(socket: zmq.Socket[bytes], address: str) -> str:
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise LinkError(f"cannot listen on {address}: {error.strerror}") from error
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return endpoint.rstrip(b"\0").decode()
