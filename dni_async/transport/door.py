"""A listening tcp port that can be shut: who knocks then is not heard, and costs next to nothing.

The kernel drops what is sent to the port of a listening socket that has such a filter, before any
process hears of it. Connections that stand go on. So strangers reach nobody where nobody is
awaited, and where somebody is, so many a second are let in at most.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dni_async.decisions.allowance import Allowance
from dni_async.transport.tcp_buffers import LEAVE

__all__ = ["BURST", "MOST", "PER_S", "Crowd", "Door", "listen"]

BURST: Final = 256  # who may come at once: the workers of a run, and as many again
PER_S: Final = 20.0  # in the long run
MOST: Final = 512  # connections that stand, those of strangers too, until they are cut off
LOOK_S: Final = 0.05
BACKLOG: Final = 64  # connections that the kernel holds until they are taken up

_ATTACH: Final = 26  # SO_ATTACH_FILTER; the module socket does not name them
_DETACH: Final = 27
_DROP_ALL: Final = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0


def listen(address: str, send_bytes: int = LEAVE, receive_bytes: int = LEAVE) -> socket.socket:
    """A socket that listens on address, tcp://HOST:PORT, with port 0 on any. Raises OSError.

    send_bytes, receive_bytes: buffers of its connections, as in TcpBuffer.ask_bytes.
    """
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, kind, proto, _, place = found[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option, asked in ((socket.SO_SNDBUF, send_bytes), (socket.SO_RCVBUF, receive_bytes)):
            if asked != LEAVE:
                listener.setsockopt(socket.SOL_SOCKET, option, asked)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


class Crowd:
    """How many have come of late, and whether that is more than there can be of ours. No clock."""

    def __init__(self) -> None:
        self._allowance = Allowance(BURST, PER_S)
        self.is_crowd = False

    def came(self, count: int, now: float) -> None:
        """So many more. A crowd is over when it is PER_S in the long run, and for a second more."""
        self._allowance.left(now)
        left = self._allowance.spend(count)
        if left < 0:
            self.is_crowd = True
        elif left >= PER_S:
            self.is_crowd = False


class Door:
    """The port of a listening socket: open while somebody is awaited, room is left and no crowd has
    come.

    listener: shared with who accepts; closed with the door. visitors: how many were let in, and how
    many have gone, since it was asked last.
    """

    def __init__(self, listener: socket.socket, visitors: Callable[[], tuple[int, int]]) -> None:
        self.is_awaited = True
        self._listener = listener
        self._visitors = visitors
        self._crowd = Crowd()
        self._present = 0
        self._is_shut = False
        self._next_look = 0.0

    def await_somebody(self, is_awaited: bool) -> None:
        """Whether anybody of ours may come."""
        if is_awaited != self.is_awaited:
            self.is_awaited = is_awaited
            self._set()

    def look(self, now: float) -> bool:
        """Count who has come, to be called often; whether anybody has gone. now: in seconds."""
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_S
        came, gone = self._visitors()
        self._present += came - gone
        self._crowd.came(came, now)
        self._set()
        return gone > 0

    @property
    def is_shut(self) -> bool:
        """Whether nobody gets in; never, where the kernel knows no filters."""
        return self._is_shut

    def close(self) -> None:
        """The port is given up."""
        self._listener.close()

    def _set(self) -> None:
        is_full = self._present >= MOST
        is_shut = not self.is_awaited or is_full or self._crowd.is_crowd
        if is_shut == self._is_shut:
            return
        self._is_shut = is_shut
        program = struct.pack("HP", 1, ctypes.addressof(_DROP_ALL))
        with suppress(OSError):  # then it stays open, and the gate asks
            if is_shut:
                self._listener.setsockopt(socket.SOL_SOCKET, _ATTACH, program)
            else:
                self._listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
