"""Sockets: control between coordinator and workers, frames between neighbours.

With ``channels``, the ends that it makes, ``gate``, which asks who may connect, and ``rings``,
which makes keys, the only modules that know ZeroMQ. Every socket has one peer (a ROUTER apart),
never blocks on sending (the window bounds what is in flight) and lingers a bounded time.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import zmq

from dni_async.addresses import is_exposed
from dni_async.errors import LinkError
from dni_async.system import output
from dni_async.transport.channels import (
    Channel,
    ControlClient,
    ControlServer,
    FrameServer,
    FrameSocket,
    is_readable,
)
from dni_async.transport.door import Door, listen
from dni_async.transport.frame_parts import PART_BYTES
from dni_async.transport.gate import Gate, Visitors, protect_client, protect_server
from dni_async.transport.interface import ControlChannel, FrameChannel
from dni_async.transport.keys import KeyPair, KeyRing
from dni_async.transport.rings import make_key_pair
from dni_async.transport.tcp_buffers import receive_buffer, send_buffer
from dni_async.wire.codec import MAX_HEADER_BYTES, MAX_TENSOR_BYTES

__all__ = [
    "Poller",
    "Sockets",
    "has_encryption",
    "library_version",
    "open_sockets",
]

_FD: Final = int(zmq.FD)  # the enum takes longer than the call
LINGER_MS: Final = 2000  # long enough for last words, short enough for Ctrl-C
HANDSHAKE_MS: Final = 5000  # how long a connection may take to say who it is
SEALED_BYTES: Final = 1024  # more than encryption adds to a frame
MAX_WAITING: Final = 32  # control messages of one worker that the coordinator has not read
MAX_QUEUED: Final = 1024  # messages of a link that are not read: four of the widest windows
MAX_UNSENT: Final = 32  # control messages that a connection holds; of parts of files 1.5 MB

Watched = FrameChannel | ControlChannel | Channel | int


class Poller:
    """Waits for any of several sockets and file descriptors to become readable.

    A socket's own file descriptor says only that something may have changed since the socket was
    last asked, so each is asked before the wait. ``zmq.Poller`` asks everything twice.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._sockets: dict[int, zmq.Socket[bytes]] = {}
        self._gates: list[Gate] = []

    def watch(self, source: Watched) -> None:
        """Add a channel made by Sockets, or a file descriptor."""
        fd = _fd_of(source)
        if not isinstance(source, int):
            channel = _own(source)
            self._sockets[fd] = channel.socket
            if channel.gate is not None and channel.gate not in self._gates:
                self._gates.append(channel.gate)
                self._poll.register(channel.gate.fd, select.POLLIN)
        self._poll.register(fd, select.POLLIN)

    def forget(self, source: Watched) -> None:
        """Take back a watch."""
        fd = _fd_of(source)
        self._sockets.pop(fd, None)
        self._poll.unregister(fd)

    def wait(self, timeout_s: float) -> set[int]:
        """Wait at most timeout_s; the readable file descriptors (sockets say so themselves).

        May return early with nothing to read.
        """
        for gate in self._gates:
            gate.answer()
        if any(is_readable(socket) for socket in self._sockets.values()):
            timeout_s = 0.0
        ready = self._poll.poll(max(0.0, timeout_s * 1000))
        gates = {gate.fd for gate in self._gates}
        return {fd for fd, _ in ready if fd not in self._sockets and fd not in gates}


class Sockets:
    """Makes sockets with the options that every part of the system relies on.

    ring: the keys of tcp sockets, and of names without a file; without it there are none. tell: is
    given a sentence for each address that was refused.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        ring: KeyRing | None = None,
        tell: Callable[[str], None] = output.complain,
    ) -> None:
        self._context = context
        self._ring = ring
        self._tell = tell
        self._gate: Gate | None = None
        self._sockets: list[zmq.Socket[bytes]] = []  # one that nobody holds closes unasked
        self._doors: dict[zmq.Socket[bytes], tuple[Door, Visitors]] = {}  # of those on tcp

    def control_server(self, address: str) -> ControlServer:
        """Listen for workers on address (ipc://PATH, or tcp://HOST:0 for any free port).

        Raises LinkError when that cannot be, or must not be for want of keys.
        """
        socket = self._make(zmq.ROUTER, MAX_HEADER_BYTES + SEALED_BYTES)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.RCVHWM, MAX_WAITING)  # more waits in the worker that sends it
        socket.setsockopt(zmq.SNDHWM, MAX_UNSENT)
        gate = self._protect(socket, address)
        endpoint, door = self._open(socket, address)
        return ControlServer(socket, endpoint, gate=gate, door=door)

    def control_client(self, address: str, peer: bytes) -> ControlClient:
        """Connect to the coordinator under the routing id peer. Raises LinkError."""
        socket = self._make(zmq.DEALER, MAX_HEADER_BYTES + SEALED_BYTES)
        socket.setsockopt(zmq.ROUTING_ID, peer)
        socket.setsockopt(zmq.SNDHWM, MAX_UNSENT)
        socket.setsockopt(zmq.RCVHWM, MAX_UNSENT)  # more waits with the coordinator
        if _is_guarded(address):
            ring = self._ring_for(address)
            protect_client(socket, ring.own, ring.coordinator)
        _connect(socket, address)
        return ControlClient(socket)

    def listening(self, address: str, near: str = "") -> FrameSocket:
        """The end that listens, also on near (ipc://@NAME). Raises LinkError as control_server.

        Over tcp it is known by a key pair that was made for it alone: nobody connects who was not
        told its public key.
        """
        socket = self._make_link(address)
        own = make_key_pair() if _is_guarded(address) else None
        gate = self._protect(socket, address, own)
        endpoint, door = self._open(socket, address)
        if near:
            assert own is not None  # others can connect there
            _bind(socket, near)
        key = "" if own is None else own.public.decode()
        return FrameSocket(socket, endpoint, gate=gate, door=door, key=key, near=near)

    def connected(self, address: str, key: str = "") -> FrameSocket:
        """The end that connects. key: the listener's, over tcp. Raises LinkError for no key."""
        socket = self._make_link(address)
        if _is_guarded(address):
            own = self._ring_for(address).own
            try:
                protect_client(socket, own, key.encode())
            except ValueError as error:
                raise LinkError(f"cannot connect to {address}: it {error}") from error
        _connect(socket, address)
        return FrameSocket(socket, address, key=key if _is_guarded(address) else "")

    def frame_server(self, address: str) -> FrameServer:
        """Listen for many, by the ring's own key. Raises LinkError as control_server does."""
        socket = self._make(zmq.ROUTER, PART_BYTES + SEALED_BYTES)
        _widen(socket, address)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.RCVHWM, MAX_WAITING)
        gate = self._protect(socket, address)
        key = "" if self._ring is None else self._ring.own.public.decode()
        endpoint, door = self._open(socket, address)
        return FrameServer(socket, endpoint, key, gate=gate, door=door)

    def waiting(self) -> Poller:
        """What waits for these sockets."""
        return Poller()

    def close(self, channel: FrameChannel | ControlChannel) -> None:
        """Close one socket at once; what it has not sent is for nobody any more."""
        socket = _own(channel).socket
        self._sockets.remove(socket)
        self._close_door(socket)
        socket.close(linger=0)

    def close_doors(self) -> None:
        """Give up the ports that are still listened on, before their context closes the sockets."""
        for socket in list(self._doors):
            self._close_door(socket)

    def _close_door(self, socket: zmq.Socket[bytes]) -> None:
        if socket in self._doors:
            door, visitors = self._doors.pop(socket)
            visitors.close()
            door.close()

    def _open(self, socket: zmq.Socket[bytes], address: str) -> tuple[str, Door | None]:
        """Listen on address: where that is, and over tcp its door. Raises LinkError."""
        if not address.startswith("tcp://"):
            return _bind(socket, address), None
        widths = (send_buffer(), receive_buffer()) if is_exposed(address) else ()
        try:
            listener = listen(address, *(width.ask_bytes for width in widths))
        except OSError as error:
            raise LinkError(f"cannot listen on {address}: {error.strerror}") from error
        visitors = Visitors(self._context, socket)
        door = Door(listener.dup(), visitors.count)
        self._doors[socket] = (door, visitors)
        socket.setsockopt(zmq.USE_FD, listener.detach())
        endpoint = _bind(socket, address)
        socket.setsockopt(zmq.USE_FD, -1)  # it may listen elsewhere too
        return endpoint, door

    def _ring_for(self, address: str) -> KeyRing:
        if self._ring is None:
            raise LinkError(f"will not use {address} without keys")
        return self._ring

    def _protect(
        self, socket: zmq.Socket[bytes], address: str, own: KeyPair | None = None
    ) -> Gate | None:
        """Let nobody in on this address but who is allowed. own: its keys, if not the ring's."""
        if not _is_guarded(address):
            return None
        ring = self._ring_for(address)
        if self._gate is None:
            try:
                self._gate = Gate(self._context, ring.allowed, self._tell)
            except zmq.ZMQError as error:
                raise LinkError(f"cannot make a socket: {error.strerror}") from error
            self._sockets.append(self._gate.socket)
        protect_server(socket, own or ring.own)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        return self._gate

    def _make_link(self, address: str) -> zmq.Socket[bytes]:
        """For one end of a pair; what is more than is ever expected waits with who sends it."""
        socket = self._make(zmq.DEALER, _frame_bytes(address))
        socket.setsockopt(zmq.RCVHWM, MAX_QUEUED)
        _widen(socket, address)
        return socket

    def _make(self, kind: int, max_frame_bytes: int) -> zmq.Socket[bytes]:
        try:
            socket: zmq.Socket[bytes] = self._context.socket(kind)
        except zmq.ZMQError as error:
            raise LinkError(f"cannot make a socket: {error.strerror}") from error
        self._sockets.append(socket)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDTIMEO, 0)  # a listening socket whose peer is gone would block
        # The window bounds what is queued; a high-water mark here could only block or lose.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        return socket


@contextmanager
def open_sockets(
    ring: KeyRing | None = None, tell: Callable[[str], None] = output.complain
) -> Iterator[Sockets]:
    """Sockets for this process; on leaving, all are closed after their bounded linger."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets = Sockets(context, ring, tell)  # held here, or it may go before the context does
    try:
        yield sockets
    finally:
        sockets.close_doors()
        context.destroy(linger=LINGER_MS)


def library_version() -> str:
    """libzmq's."""
    return zmq.zmq_version()


def has_encryption() -> bool:
    """Whether libzmq was built with CURVE, which keys need."""
    return bool(zmq.has("curve"))


def _own(channel: FrameChannel | ControlChannel | Channel) -> Channel:
    """The channel as what it is; one of another transport is a mistake of ours."""
    assert isinstance(channel, Channel)
    return channel


def _fd_of(source: Watched) -> int:
    if isinstance(source, int):
        return source
    fd = _own(source).socket.get(_FD)
    assert isinstance(fd, int)
    return fd


def _is_guarded(address: str) -> bool:
    """Whether others than this user could connect: to names without a file too."""
    return address.startswith(("tcp://", "ipc://@"))


def _frame_bytes(address: str) -> int:
    """The largest frame: ZeroMQ takes as much from a peer before it knows who that is."""
    return PART_BYTES + SEALED_BYTES if _is_guarded(address) else MAX_TENSOR_BYTES


def _widen(socket: zmq.Socket[bytes], address: str) -> None:
    """Let as much be on its way to another host as the kernel allows; before it is opened."""
    if is_exposed(address):
        socket.setsockopt(zmq.SNDBUF, send_buffer().ask_bytes)
        socket.setsockopt(zmq.RCVBUF, receive_buffer().ask_bytes)


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
