"""Who may connect over tcp: ZeroMQ asks for every connection, and hears yes or no.

Where a run stays on its host the run's id is the password (ZMTP PLAIN). It never leaves this
machine, and costs nothing once a connection stands. Beyond the host, keys do both: they admit, and
they encrypt (CURVE). A connection that is refused, silent or garbage never becomes a peer: no
message of its is read, and none is sent to it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import zmq
from zmq.utils import z85

from dni_async.transport.keys import KeyRing

__all__ = [
    "RUN_ID_VARIABLE",
    "Gate",
    "Guard",
    "protect_client",
    "protect_server",
]

RUN_ID_VARIABLE: Final = "DNI_RUN_ID"
"""Where members of a run without keys find its id, which is their password."""
"""In a run directory whose workers may be elsewhere: by it they know whether it is theirs."""

_USER: Final = b"dni"
_MAX_NAMED: Final = 32  # addresses that are named when they are refused
_MAX_ANSWERS: Final = 64  # in one go: whoever asks also has other things to do
_ZAP: Final = "inproc://zeromq.zap.01"  # fixed by RFC 27


@dataclass(frozen=True, slots=True)
class Guard:
    """What one process knows of who belongs to its run. ring: None to go by the password.

    is_open: listen beyond loopback without keys.
    """

    password: str = field(repr=False)
    ring: KeyRing | None = None
    is_open: bool = False

    @property
    def may_be_exposed(self) -> bool:
        """Whether sockets may listen beyond loopback."""
        return self.ring is not None or self.is_open


class Gate:
    """Answers ZeroMQ's question for each connection (RFC 27, ZAP). No thread: call answer.

    zmq.auth has the same for a thread or asyncio, of which a worker has neither.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        guard: Guard,
        tell: Callable[[str], None],
    ) -> None:
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(_ZAP)
        self.refused = 0
        fd = self.socket.get(zmq.FD)
        assert isinstance(fd, int)
        self.fd = fd
        self._guard = guard
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
        ring = self._guard.ring
        if ring is not None:
            is_key = mechanism == b"CURVE" and len(credentials) == 1
            return is_key and z85.encode(credentials[0]) in ring.allowed
        if mechanism != b"PLAIN" or len(credentials) != 2:
            return False
        return hmac.compare_digest(credentials[1], self._guard.password.encode())

    def _refuse(self, address: bytes) -> None:
        """Name each address once, and not more of them than anybody would read."""
        self.refused += 1
        if address in self._named or len(self._named) >= _MAX_NAMED:
            return
        self._named.add(address)
        where = address.decode(errors="replace")
        what = "password" if self._guard.ring is None else "key"
        self._tell(f"a connection from {where} was refused, as its {what} is not of this run")


def protect_server(socket: zmq.Socket[bytes], guard: Guard) -> None:
    """Make a socket ask everybody who connects; before it binds."""
    socket.setsockopt(zmq.ZAP_DOMAIN, b"dni")
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    if guard.ring is None:
        socket.setsockopt(zmq.PLAIN_SERVER, 1)
        return
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, guard.ring.own.secret)


def protect_client(socket: zmq.Socket[bytes], guard: Guard, *, is_control: bool) -> None:
    """Let a socket say who it is, and with keys ask the other end the same; before it connects."""
    if guard.ring is None:
        socket.setsockopt(zmq.PLAIN_USERNAME, _USER)
        socket.setsockopt(zmq.PLAIN_PASSWORD, guard.password.encode())
        return
    server = guard.ring.coordinator if is_control else guard.ring.worker
    socket.setsockopt(zmq.CURVE_SERVERKEY, server)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, guard.ring.own.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, guard.ring.own.secret)
