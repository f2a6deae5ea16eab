"""Commands of ours as real processes that need not import torch again; see tests/zygote.py."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

from dni_async.launcher.places.local import thread_settings
from tests import zygote
from tests.beginning import Beginning

__all__ = ["Forked", "can_fork", "end_zygote", "fork"]


class Forked:
    """A process that the zygote forked; it shows itself as subprocess.Popen does."""

    def __init__(self, status: int, stdout: int) -> None:
        self._status = os.fdopen(status, "rb", buffering=0)
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb", buffering=0)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it runs."""
        return self._hear(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired if it does not end in time."""
        code = self._hear(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked command", timeout or 0.0)
        return code

    def send_signal(self, signum: int) -> None:
        """To it, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close both pipes, whatever it does."""
        self._status.close()
        assert self.stdout is not None
        self.stdout.close()

    def _hear(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int(self._status.readline())
        return self.returncode


class _Zygote:
    """The one process of a test session that others are forked from."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**thread_settings(1, shares_cores=True), zygote.MARK: str(uuid.UUID(int=0))}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, zygote.__file__, str(theirs.fileno())],
                env={**os.environ, **environment},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def end(self) -> None:
        """Close its socket and wait for it."""
        self.socket.close()
        self.process.wait(30)


@cache
def _zygote() -> _Zygote:
    return _Zygote()


def end_zygote() -> None:
    """At the end of all tests."""
    if _zygote.cache_info().currsize:
        _zygote().end()


def can_fork(command: Sequence[str]) -> bool:
    """Whether it is one that the zygote knows."""
    return zygote.program_of(command) is not None


def fork(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    columns: int = 0,
    beginning: Beginning | None = None,
) -> Forked:
    """Start the command in a session of its own, with this environment.

    Its output and what it says on standard error are one stream; its input is empty. columns: of
    the terminal that it writes to; 0 for none. beginning: what is done to it first.
    """
    marked = {zygote.MARK: str(uuid.uuid4()), **environment}
    asked = {
        "command": list(command),
        "cwd": str(cwd),
        "environment": marked,
        "beginning": None if beginning is None else beginning.to_json(),
    }
    stdout, their_stdout = _terminal(columns) if columns else os.pipe()
    status, their_status = os.pipe()
    theirs = [os.open(os.devnull, os.O_RDONLY), their_stdout, their_status]
    try:
        socket.send_fds(_zygote().socket, [json.dumps(asked).encode()], theirs)
    finally:
        for fd in theirs:
            os.close(fd)
    return Forked(status, stdout)


def _terminal(columns: int) -> tuple[int, int]:
    """Both ends of a terminal of 24 lines: who sits before it, and who writes to it."""
    ours, theirs = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, theirs
