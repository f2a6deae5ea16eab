"""Start workers through a fork server, hear of their ends, leave none behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dni_async.config.given import given_folder
from dni_async.errors import WorkerDied
from dni_async.files.scratch import SCRATCH, remove_scratch

__all__ = [
    "Exited",
    "Started",
    "WorkerProcesses",
    "ask",
    "command_for",
    "last_line",
    "read_from",
    "size_of",
    "thread_environment",
    "thread_settings",
]

GRACE_S = 1.0
MAX_BYTES = 8_000  # of what was written into a log, as far as the user is shown it


@dataclass(frozen=True, slots=True)
class Started:
    """A worker process runs."""

    stage: int
    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker process has ended. code: its exit code, or minus the signal that killed it."""

    stage: int
    pid: int
    code: int


def command_for(module: str, *arguments: str) -> list[str]:
    """The command line that runs one of our modules; see bootstrap."""
    bootstrap = Path(__file__).with_name("bootstrap.py")
    return [sys.executable, str(bootstrap), module, *arguments]


def thread_environment(num_threads: int, *, shares_cores: bool) -> dict[str, str]:
    """The environment of a process of this host with num_threads compute threads."""
    return {**os.environ, **thread_settings(num_threads, shares_cores=shares_cores)}


def thread_settings(num_threads: int, *, shares_cores: bool) -> dict[str, str]:
    """What the environment of a process says of its num_threads compute threads and its memory.

    shares_cores: other processes compute beside it, so idle threads must sleep, not spin (two
    workers with spinning threads on two cores run 32 times slower); else they wait as OpenMP has
    it, which is faster where nobody else computes (0103). Memory is kept rather than
    given back: each 4 MB gradient would be fresh pages at every update.
    """
    environment = {
        "OMP_NUM_THREADS": str(num_threads),
        "MKL_NUM_THREADS": str(num_threads),
        "OPENBLAS_NUM_THREADS": "1",  # numpy only shuffles; its pool would not survive a fork
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
        "MALLOC_MMAP_THRESHOLD_": str(2**30),
    }
    if shares_cores:
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    return environment


def ask(module: str, job: Mapping[str, Any], num_threads: int, timeout_s: float) -> dict[str, Any]:
    """Run one of our modules with job on its standard input; the JSON object that it prints.

    Raises WorkerDied with what it said on standard error when it fails or takes too long.
    """
    try:
        process = subprocess.run(
            command_for(module),
            env=thread_environment(num_threads, shares_cores=False),
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WorkerDied(f"{module} took more than {timeout_s:.0f} s", 1) from error
    if process.returncode != 0:
        code = process.returncode if process.returncode > 0 else 128 - process.returncode
        raise WorkerDied(f"{module} failed:\n{process.stderr.rstrip()}", code)
    answer: dict[str, Any] = json.loads(process.stdout)
    return answer


class WorkerProcesses:
    """The fork server's other end. ``folder``: private, for sockets; gone when all is over."""

    def __init__(self, num_threads: int, log: Path, held: Sequence[int] = ()) -> None:
        folder = given_folder()
        given = [] if folder is None else [str(folder)]  # its owner's to remove, unless killed
        self._ours, theirs = socket.socketpair()
        lifeline_read, self._lifeline = os.pipe()
        self.folder = tempfile.mkdtemp(prefix="dni-")  # mode 0700
        self._log = log
        try:
            with log.open("ab") as output:
                self._server = subprocess.Popen(
                    command_for(
                        "dni_async.workers.__main__",
                        f"--fork-server={theirs.fileno()}",
                        f"--lifeline={lifeline_read}",
                    ),
                    env={
                        **thread_environment(num_threads, shares_cores=True),
                        SCRATCH: self.folder,
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(theirs.fileno(), lifeline_read, *held),
                    start_new_session=True,  # a terminal's Ctrl-C is for the launcher alone
                )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
            os.close(lifeline_read)
        self._buffer = b""
        self.alive: dict[int, int] = {}  # pid -> stage
        self._say({"remove": [self.folder, *given]})

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._ours.fileno()

    def import_once(self, *modules: str) -> None:
        """Have these imported for all workers that are started from now on."""
        self._say({"import": modules})

    def start(
        self,
        *,
        stage: int,
        coordinator: str,
        run_id: str,
        log: Path,
        incarnation: int = 0,
        keys: str | None = None,
        is_open: bool = False,
        interface: str = "",
        ticket: str = "",
    ) -> None:
        """Ask for a worker; Started follows. The rest is as in Assignment of the workers."""
        request = {
            "stage": stage,
            "coordinator": coordinator,
            "run_id": run_id,
            "log": str(log),
            "incarnation": incarnation,
            "keys": keys,
            "is_open": is_open,
            "interface": interface,
            "ticket": ticket,
        }
        self._say({"start": request})

    def hear(self) -> list[Started | Exited]:
        """What happened; call when fileno is readable. Raises WorkerDied if the server died."""
        try:
            received = self._ours.recv(65536)
        except ConnectionError:
            received = b""
        if not received:
            code = self._server.wait()
            said = last_line(self._log)
            raise WorkerDied(
                f"the fork server ended with code {code}; its log is {self._log}"
                + (f", which ends: {said}" if said else ""),
                1,
            )
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        return [event for line in lines if (event := self._parse(json.loads(line)))]

    def close(self) -> None:
        """Kill every worker that is left, wait for the fork server, remove the folder."""
        with suppress(WorkerDied):
            self._say({"remove": [self.folder], "kill": True})
        self._ours.close()
        os.close(self._lifeline)
        try:
            self._server.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        for pid in self.alive:  # only if the server had to be killed
            _kill(pid)
        remove_scratch(self.folder)

    def _say(self, request: Mapping[str, Any]) -> None:
        try:
            self._ours.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise WorkerDied(f"the fork server is gone: {error.strerror}", 1) from error

    def _parse(self, message: dict[str, int]) -> Started | Exited | None:
        if "started" in message:
            self.alive[message["pid"]] = message["started"]
            return Started(message["started"], message["pid"])
        if "exited" in message:
            pid = message["exited"]
            return Exited(self.alive.pop(pid), pid, message["code"])
        return None


@contextmanager
def worker_processes(
    num_threads: int, log: Path, held: Sequence[int] = ()
) -> Iterator[WorkerProcesses]:
    """A fork server whose workers do not outlive the block.

    held: descriptors that it and the workers hold open as long as they live. Raises WorkerDied
    where the system lets none start.
    """
    try:
        processes = WorkerProcesses(num_threads, log, held)
    except OSError as error:
        raise WorkerDied(f"no worker can be started: {error.strerror}", 1) from error
    try:
        yield processes
    finally:
        processes.close()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


def size_of(log: Path) -> int:
    """Bytes in the log; 0 where there is none."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def read_from(log: Path, start: int) -> str:
    """What was written since the log had that size; the end of it, if it is much."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, size_of(log) - MAX_BYTES))
            return file.read().decode(errors="replace").rstrip()
    except OSError:
        return ""


def last_line(log: Path) -> str:
    """The last line that holds anything; "" where there is none."""
    return read_from(log, 0).rpartition("\n")[2].strip()
