"""Start workers through a fork server, hear of their ends, leave none behind."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dni_async.config.given import given_folder
from dni_async.errors import WorkerDied
from dni_async.files.scratch import SCRATCH, make_scratch, remove_scratch
from dni_async.launcher.places.exits import Ends
from dni_async.launcher.places.server import ForkServer, ForkServers
from dni_async.system import output
from dni_async.system.machine import adopt_orphans
from dni_async.transport.keys import KeyRing
from dni_async.transport.rings import told_ring

__all__ = [
    "Exited",
    "Started",
    "WorkerProcesses",
    "ask",
    "command_for",
    "last_line",
    "read_from",
    "signal_name",
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
    """A worker process has ended. code: its exit code, or minus the signal that killed it.

    None where nobody has seen it: the fork server that was its parent died before it could say so.
    """

    stage: int
    pid: int
    code: int | None


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
    """The fork servers' other end. ``folder``: private, for sockets; gone when all is over.

    note: takes a sentence for the user. alive: stages by pid; each is watched by itself, so that a
    fork server that is stopped or dead hides no death.
    """

    def __init__(
        self,
        num_threads: int,
        log: Path,
        held: Sequence[int] = (),
        note: Callable[[str], None] = output.say,
    ) -> None:
        folder = given_folder()
        given = [] if folder is None else [str(folder)]  # its owner's to remove, unless killed
        self.folder = make_scratch().path
        self.alive: dict[int, int] = {}
        self._log, self._held = log, held
        self._environment = {
            **thread_environment(num_threads, shares_cores=True),
            SCRATCH: self.folder,
        }
        self._lifeline_read, self._lifeline = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._ends = Ends(self._selector)
        self._known: set[tuple[int, int]] = set()  # stage and incarnation
        self._adopted_before = adopt_orphans(is_on=True)
        try:
            self._servers = ForkServers(self._begin, self._selector, note, self._why_ended)
        except BaseException:
            self._give_back()
            raise
        self._servers.say({"remove": [self.folder, *given]})

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._selector.fileno()

    def import_once(self, *modules: str) -> None:
        """Have these imported for all workers that are started from now on."""
        self._servers.say({"import": modules})

    def start(
        self,
        *,
        stage: int,
        coordinator: str,
        run_id: str,
        log: Path,
        incarnation: int = 0,
        ring: KeyRing | None = None,
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
            "ring": None if ring is None else told_ring(ring),
            "interface": interface,
            "ticket": ticket,
        }
        self._servers.ask(request)

    def hear(self) -> list[Started | Exited]:
        """What happened; call it several times a second. Raises WorkerDied if no worker can be
        started any more.
        """
        found = [event for told in self._servers.hear() for event in self._parse(told)]
        found += [event for pid, code in self._ends.found() for event in self._end(pid, code)]
        self._servers.sweep(self.alive)
        return found

    def close(self) -> None:
        """Kill every worker that is left, wait for the fork servers, remove the folder."""
        os.close(self._lifeline)
        try:
            self._servers.end({"remove": [self.folder], "kill": True}, GRACE_S)
            self._ends.kill_all()
            self._ends.close()
        finally:
            self._give_back()

    def _give_back(self) -> None:
        """What the system lent, but the processes."""
        adopt_orphans(is_on=self._adopted_before)
        self._selector.close()
        os.close(self._lifeline_read)
        remove_scratch(self.folder)

    def _begin(self) -> ForkServer:
        """One more fork server. Raises OSError."""
        ours, theirs = socket.socketpair()
        command = command_for(
            "dni_async.workers.__main__",
            f"--fork-server={theirs.fileno()}",
            f"--lifeline={self._lifeline_read}",
        )
        try:
            with self._log.open("ab") as output:
                process = subprocess.Popen(
                    command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(theirs.fileno(), self._lifeline_read, *self._held),
                    start_new_session=True,  # a terminal's Ctrl-C is for the launcher alone
                )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ForkServer(process, ours)

    def _why_ended(self, code: int) -> str:
        """Of a fork server."""
        said = last_line(self._log)
        if code < 0:
            return f"the fork server was killed by {signal_name(-code)}"
        text = f"the fork server ended with code {code}; its log is {self._log}"
        return f"{text}, which ends: {said}" if said else text

    def _parse(self, message: Mapping[str, int]) -> Iterator[Started | Exited]:
        if "started" in message:
            self.alive[message["pid"]] = message["started"]
            self._known.add((message["started"], message["incarnation"]))
            self._ends.watch(message["pid"])
            yield Started(message["started"], message["pid"])
            return
        pid = message["exited"]
        who = message["stage"], message["incarnation"]
        if who not in self._known:  # killed before its first word
            self._known.add(who)
            self.alive[pid] = message["stage"]
            yield Started(message["stage"], pid)
        yield from self._end(pid, message["code"])

    def _end(self, pid: int, code: int | None) -> Iterator[Exited]:
        """Tell of it once."""
        if pid in self.alive:
            self._ends.forget(pid)
            yield Exited(self.alive.pop(pid), pid, code)


@contextmanager
def worker_processes(
    num_threads: int,
    log: Path,
    held: Sequence[int] = (),
    note: Callable[[str], None] = output.say,
) -> Iterator[WorkerProcesses]:
    """A fork server whose workers do not outlive the block.

    held: descriptors that it and the workers hold open as long as they live. Raises WorkerDied
    where the system lets none start.
    """
    try:
        processes = WorkerProcesses(num_threads, log, held, note)
    except OSError as error:
        raise WorkerDied(f"no worker can be started: {error.strerror}", 1) from error
    try:
        yield processes
    finally:
        processes.close()


def signal_name(number: int) -> str:
    """Not all signals have a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


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
