"""A process that a test starts, whose children can be found by a mark in their environment."""

from __future__ import annotations

import codecs
import errno
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from tests.beginning import Beginning
from tests.forked import Forked, can_fork, fork
from tests.zygote import MARK

__all__ = ["DEADLINE_S", "MarkedProcess", "outcome"]

DEADLINE_S = 60.0


class MarkedProcess:
    """A command in a session of its own, with a temporary folder of its own.

    output: what it has printed, so far as it was read. is_cold: started from nothing, as a user
    does it; else a command of ours is forked from a process that has imported what it needs.
    columns: of the terminal that a forked one writes to; 0 for none. beginning: what is done to a
    forked one first.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        is_cold: bool = False,
        columns: int = 0,
        beginning: Beginning | None = None,
    ) -> None:
        self.temporary = Path(tempfile.mkdtemp(prefix="dni-test-"))  # short: sockets lie in it
        self.output = ""
        mark = str(uuid.uuid4())
        self._mark = f"{MARK}={mark}"
        own = {"TMPDIR": str(self.temporary), MARK: mark, **(environment or {})}
        whole = {**os.environ, **own}
        if beginning is not None:
            bare = {MARK: mark, "TMPDIR": str(self.temporary)}
            whole = {**(bare if beginning.is_bare else whole), **dict(beginning.environment)}
            if beginning.user:
                self.temporary.chmod(0o777)
        if can_fork(command) and not is_cold:
            self.process: Forked | subprocess.Popen[bytes] = fork(
                command, cwd=cwd, environment=whole, columns=columns, beginning=beginning
            )
        else:
            assert not columns
            assert beginning is None
            self.process = _start(command, cwd, whole)
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def wait_for(self, pattern: str, deadline_s: float = DEADLINE_S) -> re.Match[str]:
        """Read output until pattern appears."""
        deadline = time.monotonic() + deadline_s
        while not (found := re.search(pattern, self.output)):
            if not self._read(deadline):
                pytest.fail(f"{pattern!r} did not appear in:\n{self.output}")
        return found

    def wait_until(self, has_come: Callable[[], bool], *, reads: bool = True) -> None:
        """Read output, if any comes, until that is so; the process must not end before."""
        deadline = time.monotonic() + DEADLINE_S
        while not has_come():
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"it did not come in:\n{self.output}")
            assert self.process.stdout is not None
            heard = [self.process.stdout] if reads else []
            if select.select(heard, [], [], 0.05)[0]:
                self._read(deadline)

    def finds(self, pattern: str) -> bool:
        """Whether it is in what was printed so far."""
        return re.search(pattern, self.output) is not None

    def hang_up(self) -> None:
        """Read no more: close the terminal, or this end of the pipe."""
        assert self.process.stdout is not None
        self.process.stdout.close()

    def interrupt(self, signum: int = signal.SIGINT) -> None:
        """As Ctrl-C in a terminal does: to the process group."""
        os.killpg(self.process.pid, signum)

    def end(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + deadline_s
        assert self.process.stdout is not None
        while not self.process.stdout.closed and self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def alive(self) -> list[psutil.Process]:
        """Every process that carries the mark."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = self._mark.encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (OSError, psutil.Error):
                continue
        return found

    def left_after(self, seconds: float) -> list[psutil.Process]:
        """What does not end by itself in that time."""
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            psutil.wait_procs(self.alive(), timeout=0.1)
        return self.alive()

    def abort(self) -> None:
        """Kill what is left, whatever the test did, and remove the temporary folder."""
        for process in self.alive():
            process.kill()
        self.process.wait(10)
        if isinstance(self.process, Forked):
            self.process.close()
        elif self.process.stdout is not None:
            self.process.stdout.close()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _read(self, deadline: float) -> bool:
        """Read what is there, waiting at most until deadline; False at the end of output."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            pytest.fail(f"nothing was printed any more after:\n{self.output}")
        try:
            part = os.read(fd, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody writes to the terminal any more
                raise
            return False
        self.output += self._decoder.decode(part)
        return bool(part)


def outcome(command: Sequence[str], folder: Path, **environment: str) -> tuple[int, str]:
    """Run the command to its end in folder: its exit code, and all that it printed."""
    process = MarkedProcess(command, cwd=folder, environment=environment)
    try:
        return process.end(), process.output
    finally:
        process.abort()


def _start(
    command: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # Where the tests run in the background of a script, that is ignored and inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
