"""Who may connect over tcp: ZeroMQ asks for every connection, and hears yes or no.

Keys do all of it (CURVE): who connects must know the listener's public key before a word is said,
shows a key of its own that is allowed, and every frame is sealed. There is no password that a false
listener could be told. A connection that is refused, silent or garbage never becomes a peer: no
message of its is read, and none is sent to it.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Collection
from typing import Final

import zmq
from zmq.utils import z85

from dni_async.transport.keys import KeyPair

__all__ = ["Gate", "Visitors", "protect_client", "protect_server"]

_MAX_NAMED: Final = 32  # addresses that are named when they are refused
_MAX_ANSWERS: Final = 64  # in one go: whoever asks also has other things to do
_ZAP: Final = "inproc://zeromq.zap.01"  # fixed by RFC 27


class Gate:
    """Answers ZeroMQ's question for each connection (RFC 27, ZAP). No thread: call answer.

    zmq.auth has the same for a thread or asyncio, of which a worker has neither. allowed: the
    public keys that may connect.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        allowed: Collection[bytes],
        tell: Callable[[str], None],
    ) -> None:
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(_ZAP)
        self.refused = 0
        fd = self.socket.get(zmq.FD)
        assert isinstance(fd, int)
        self.fd = fd
        self._allowed = allowed
        self._tell = tell
        self._named: set[bytes] = set()

    def answer(self) -> None:
        """Admit or refuse those who wait; never blocks."""
        for _ in range(_MAX_ANSWERS):
            events = self.socket.get(zmq.EVENTS)
            assert isinstance(events, int)
            if not events & zmq.POLLIN:
                return
            version, request, _, address, _, mechanism, *credentials = self.socket.recv_multipart()
            is_known = self._knows(mechanism, credentials)
            if not is_known:
                self._refuse(address)
            code, text = (b"200", b"OK") if is_known else (b"400", b"not of this run")
            self.socket.send_multipart([version, request, code, text, b"", b""])

    def _knows(self, mechanism: bytes, credentials: list[bytes]) -> bool:
        is_key = mechanism == b"CURVE" and len(credentials) == 1
        return is_key and z85.encode(credentials[0]) in self._allowed

    def _refuse(self, address: bytes) -> None:
        """Name each address once, and not more of them than anybody would read."""
        self.refused += 1
        if address in self._named or len(self._named) >= _MAX_NAMED:
            return
        self._named.add(address)
        where = address.decode(errors="replace")
        self._tell(f"a connection from {where} was refused, as its key is not of this run")


class Visitors:
    """Counts who comes to a listening socket over tcp, and who goes, whoever they are."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], listening: zmq.Socket[bytes]
    ) -> None:
        address = f"inproc://visitors-{secrets.token_hex(8)}"
        listening.monitor(address, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._listening = listening
        self._socket: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)  # the I/O thread would wait for who counts
        self._socket.connect(address)

    def count(self) -> tuple[int, int]:
        """How many have come, and how many have gone, since it was asked last."""
        counts = {zmq.EVENT_ACCEPTED: 0, zmq.EVENT_DISCONNECTED: 0}
        while True:
            try:
                event, *_ = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return counts[zmq.EVENT_ACCEPTED], counts[zmq.EVENT_DISCONNECTED]
            kind = struct.unpack_from("=H", event)[0]
            if kind in counts:
                counts[kind] += 1

    def close(self) -> None:
        """Count no more; before the listening socket is closed."""
        self._listening.monitor(None, 0)  # it would wait for ever to tell of them
        self._socket.close()


def protect_server(socket: zmq.Socket[bytes], own: KeyPair) -> None:
    """Make a socket ask everybody who connects; before it binds. own: by which it is known."""
    socket.setsockopt(zmq.ZAP_DOMAIN, b"dni")
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret)


def protect_client(socket: zmq.Socket[bytes], own: KeyPair, server: bytes) -> None:
    """Let a socket say who it is, to nobody but who has that key's secret; before it connects.

    server: the listener's public key, as 40 characters of Z85. Raises ValueError for another text.
    """
    try:
        socket.setsockopt(zmq.CURVE_SERVERKEY, server)
    except zmq.ZMQError as error:
        raise ValueError(f"is known by no key but {server!r}") from error
    socket.setsockopt(zmq.CURVE_PUBLICKEY, own.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret)
