"""The process at the other end of shared slots: whether it is still there, and done with them.

The connection over which the slots were handed over stays open. The kernel closes it whenever that
process ends, however it does; a process that will not touch the slots again says so.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from typing import Final

from dni_async.errors import LinkError

__all__ = ["Peer", "PeerGone"]

_DONE: Final = b"d"


class PeerGone(LinkError):
    """The other process ended before its work on a slot did: what should lie there never will."""


class Peer:
    """The other end of connection, which it takes over."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._is_done = self._has_gone = False

    @property
    def has_gone(self) -> bool:
        """Whether it has ended or hung up; asks the kernel."""
        self._listen()
        return self._has_gone

    @property
    def is_done(self) -> bool:
        """Whether it will not touch the slots again."""
        self._listen()
        return self._is_done or self._has_gone

    def say_done(self) -> None:
        """This end will not touch the slots again."""
        with suppress(OSError):
            self._connection.send(_DONE)

    def await_done(self, patience_s: float) -> bool:
        """Whether it is done, or is within patience_s."""
        deadline = time.monotonic() + patience_s
        while not self.is_done and self._hears_by(deadline):
            pass
        return self.is_done

    def await_end(self, patience_s: float) -> bool:
        """Whether it has gone, or goes within patience_s."""
        deadline = time.monotonic() + patience_s
        while not self.has_gone and self._hears_by(deadline):
            pass
        return self.has_gone

    def hang_up(self) -> None:
        """Close the connection; it counts as gone."""
        self._has_gone = True
        self._connection.close()

    def _hears_by(self, deadline: float) -> bool:
        left = max(0.0, deadline - time.monotonic())
        return bool(select.select([self._connection], [], [], left)[0])

    def _listen(self) -> None:
        if self._has_gone:
            return
        try:
            said = self._connection.recv(1)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self._is_done |= said == _DONE
        self._has_gone = not said
