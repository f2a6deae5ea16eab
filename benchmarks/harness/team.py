"""Processes that work for a benchmark: started together, spoken to in JSON lines, never left."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmarks.harness.hosts.hosts import INTERFACE, Host
from dni_async.errors import DniError
from dni_async.launcher.places.local import thread_environment

__all__ = ["MemberDied", "Team", "undisturbed"]

ROOT = Path(__file__).resolve().parents[2]
LEAVE_S = 5.0
PATIENCE_S = 900.0


class MemberDied(DniError):
    """A process of the team failed or fell silent; carries the end of what it wrote."""


class Team:
    """num_members processes of one module. Leaving the block kills those that are left.

    The module has a ``main(member)``, see member. ``folder`` is private to the team
    (sockets, rendezvous files) and goes with it. Every member gets the same thread budget, memory
    settings and library path. hosts: where each runs, if not all here.
    """

    def __init__(
        self,
        module: str,
        num_members: int,
        *,
        num_threads: int = 1,
        shares_cores: bool = True,
        hosts: Sequence[Host] = (),
        patience_s: float = PATIENCE_S,
    ) -> None:
        with undisturbed():  # a folder that nobody knows of yet would stay
            self._temporary = tempfile.TemporaryDirectory(prefix="dni-bench-")
        self.folder = Path(self._temporary.name)
        self._module = module
        self._hosts = hosts
        self._patience_s = patience_s
        self._members: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []
        self._lines: list[deque[dict[str, Any]]] = [deque() for _ in range(num_members)]
        self._rests = [b""] * num_members
        self._selector = selectors.DefaultSelector()
        environment = thread_environment(num_threads, shares_cores=shares_cores)
        path = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)
        # Else it looks the host's name up.
        environment["GLOO_SOCKET_IFNAME"] = INTERFACE if hosts else "lo"
        environment["TMPDIR"] = str(self.folder)  # torch leaves an empty cache behind
        try:
            for index in range(num_members):
                with undisturbed():
                    self._start(index, environment)
        except BaseException:
            self.close(at_once=True)
            raise

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(at_once=kind is not None)

    def tell(self, member: int, message: Mapping[str, Any]) -> None:
        """One line to a member. Raises MemberDied."""
        pipe = self._members[member].stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps(message).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            raise self._failure(member, "does not listen") from None

    def tell_all(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """One line to each member."""
        for member, message in enumerate(messages):
            self.tell(member, message)

    def hear(self, member: int) -> dict[str, Any]:
        """The next line of a member. Raises MemberDied when any member fails before it comes."""
        deadline = time.monotonic() + self._patience_s
        while not self._lines[member]:
            ready = self._selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise self._failure(member, f"has said nothing for {self._patience_s:.0f} s")
            for key, _ in ready:
                self._read(key.data)
        return self._lines[member].popleft()

    def close(self, *, at_once: bool = False) -> None:
        """Kill the members; unless at_once, let them leave by themselves for a moment."""
        with undisturbed():
            self._close(at_once=at_once)

    def _close(self, *, at_once: bool) -> None:
        for process in self._members:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
        deadline = time.monotonic() + (0.0 if at_once else LEAVE_S)
        for process in self._members:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        for log in self._logs:
            log.close()
        self._selector.close()
        self._temporary.cleanup()

    def _start(self, index: int, environment: dict[str, str]) -> None:
        log = (self.folder / f"member-{index}.log").open("w+b")
        self._logs.append(log)
        command = [sys.executable, "-m", "benchmarks.harness.member", self._module]
        process = subprocess.Popen(
            self._hosts[index].command(*command) if self._hosts else command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C is for the command alone
        )
        self._members.append(process)
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, index)
        self.tell(index, {"member": index, "parent": os.getpid()})

    def _read(self, member: int) -> None:
        process = self._members[member]
        assert process.stdout is not None
        received = os.read(process.stdout.fileno(), 65536)
        if not received:
            self._selector.unregister(process.stdout)
            code = process.wait()
            if code != 0 or not self._selector.get_map():
                raise self._failure(member, f"ended with code {code}")
            return
        *lines, self._rests[member] = (self._rests[member] + received).split(b"\n")
        self._lines[member].extend(json.loads(line) for line in lines)

    def _failure(self, member: int, what: str) -> MemberDied:
        log = (self.folder / f"member-{member}.log").read_text(errors="replace")
        return MemberDied(f"{self._module}, process {member}, {what}:\n{log[-3000:].rstrip()}")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals wait until the block is done: none may lose a process that has just begun."""
    held: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, lambda number, _: held.append(number)) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if held:
            signal.raise_signal(held[0])
