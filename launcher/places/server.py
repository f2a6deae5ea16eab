"""The fork servers of a run: one at a time, watched, and followed by another when it fails."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Protocol

from dni_async.errors import WorkerDied
from dni_async.launcher.decisions.known.silence import STACK_S, Silence
from dni_async.launcher.places.exits import (
    adopted,
    await_end,
    ended_with,
    has_ended,
    reap,
    state_of,
)

__all__ = ["ForkServer", "ForkServers"]

PING_S = 0.5
SWEEP_S = 1.0  # between looks at all processes there are, which take milliseconds
SILENT_S = 2.0  # one that answers no question for so long, and STACK_S more, is replaced
MAX_UNREADY = 5  # killed in a row before they were ready

Request = Mapping[str, Any]


class Process(Protocol):
    """What is asked of a subprocess.Popen."""

    @property
    def pid(self) -> int: ...

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class ForkServer:
    """One fork server, as the launcher sees it: its process, and this end of its socket.

    is_ready: it has been. is_open: it, or a worker that it has just made, may still say something.
    """

    def __init__(self, process: Process, ours: socket.socket) -> None:
        self.pid = process.pid
        self.is_ready, self.is_open = False, True
        self._process = process
        self._socket = ours
        self._buffer = b""
        self._num_imports = 1  # that it is at, its own among them

    def fileno(self) -> int:
        """Readable when it has said something."""
        return self._socket.fileno()

    @property
    def is_busy(self) -> bool:
        """Whether it imports, which takes as long as it takes; a stopped one does not."""
        return self._num_imports > 0 and state_of(self.pid) not in ("T", "t")

    @property
    def code(self) -> int | None:
        """How it has ended; None while it lives. It stays a zombie: its number is its group's."""
        code = ended_with(self.pid)
        return 1 if code is None and has_ended(self.pid) else code

    def say(self, request: Request) -> None:
        """Tell it; one that is dead hears nothing."""
        self._num_imports += "import" in request
        with suppress(OSError):
            self._socket.sendall(json.dumps(request).encode() + b"\n")

    def hear(self) -> list[dict[str, Any]]:
        """What it has said, without waiting."""
        try:
            received = self._socket.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError:
            received = b""
        self.is_open = bool(received)
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        told: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self._num_imports -= sum("ready" in each for each in told)
        self.is_ready = self.is_ready or self._num_imports == 0
        return told

    def kill(self) -> None:
        """It is of no use any more. Its workers go on."""
        self._process.kill()

    def kill_group(self) -> None:
        """End all workers that it has made; while its number is still its own."""
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Hear it no more."""
        self.is_open = False
        self._socket.close()

    def reap(self, timeout_s: float) -> None:
        """Its number may be another's from now on, if it ends by then."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)


class ForkServers:
    """Asks the present fork server for workers; what one leaves undone is asked of the next.

    A server is asked twice a second whether it is there. One that is stopped, or dead, is replaced:
    its workers go on, and become this process's children where the system allows that.

    begin: starts one. note: takes a sentence for the user. why_ended: what to say of one that ended
    with that code.
    """

    def __init__(
        self,
        begin: Callable[[], ForkServer],
        selector: selectors.BaseSelector,
        note: Callable[[str], None],
        why_ended: Callable[[int], str],
    ) -> None:
        self._begin = begin
        self._selector = selector
        self._note = note
        self._why_ended = why_ended
        self._former: list[ForkServer] = []
        self._said: list[Request] = []  # to every server
        self._asked: dict[tuple[int, int], Request] = {}  # by stage and incarnation, not made yet
        self._silence = Silence(SILENT_S)
        self._next_ping = self._next_sweep = 0.0
        self._num_unready = 0
        self._present = self._start()

    def say(self, request: Request) -> None:
        """To this server, and to all that follow it."""
        self._said.append(request)
        self._present.say(request)

    def ask(self, request: Request) -> None:
        """For a worker, until that is made."""
        self._asked[request["stage"], request["incarnation"]] = request
        if self._present.is_ready:
            self._present.say({"start": request})

    def hear(self) -> list[dict[str, Any]]:
        """What all have said of workers. Raises WorkerDied if servers end before they are ready."""
        told = []
        for server in (*self._former, self._present):
            if server.is_open:
                told += self._heard(server)
        if self._present.code is not None:
            self._replace()
        self._look(time.monotonic())
        return told

    def end(self, parting: Request, grace_s: float) -> None:
        """The last word to the present one; nothing that any of them has made is left."""
        self._present.say(parting)
        for server in (*self._former, self._present):
            self._leave(server)
        await_end(self._present.pid, grace_s)
        servers = [*self._former, self._present]
        for server in servers:
            server.kill_group()
        deadline = time.monotonic() + grace_s
        for server in servers:  # until then its workers are its own children, and nobody's to adopt
            await_end(server.pid, max(0.0, deadline - time.monotonic()))
        sessions = {server.pid for server in servers}
        while (left := adopted(sessions)) and (left_s := deadline - time.monotonic()) > 0:
            for pid in left:
                await_end(pid, left_s)
                reap(pid)
        for server in servers:
            server.reap(grace_s)

    def sweep(self, awaited: Collection[int]) -> None:
        """Forget what former servers' processes have left to this one and has ended, but those
        whose end is still to be told. The present server does so itself.
        """
        sessions = {server.pid for server in self._former if not server.is_open}
        if sessions and time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_S
            for pid in adopted(sessions):
                if pid not in awaited:
                    reap(pid)

    def _start(self) -> ForkServer:
        server = self._begin()
        self._selector.register(server, selectors.EVENT_READ)
        return server

    def _leave(self, server: ForkServer) -> None:
        if server.is_open:
            self._selector.unregister(server)
            server.close()

    def _heard(self, server: ForkServer) -> list[dict[str, Any]]:
        was_ready, told = server.is_ready, server.hear()
        for each in told:
            if "started" in each:
                self._asked.pop((each["started"], each["incarnation"]), None)
            elif "pong" in each and server is self._present:
                self._silence.hear(self._number)
        if not server.is_open:
            self._selector.unregister(server)
            server.close()
        elif server is self._present and server.is_ready and not was_ready:
            self._serve()
        return [each for each in told if "started" in each or "exited" in each]

    def _serve(self) -> None:
        """The present one is ready. Whoever was made before and has not said so by now is not
        heard any more, and ends.
        """
        self._num_unready = 0
        for former in self._former:
            self._leave(former)
        for request in self._asked.values():
            self._present.say({"start": request})

    def _replace(self) -> None:
        """The present one has ended."""
        code, was_ready = self._present.code or 0, self._present.is_ready
        self._num_unready += not was_ready
        is_hopeless = not was_ready and (code > 0 or self._num_unready == MAX_UNREADY)
        if is_hopeless:
            raise WorkerDied(self._why_ended(code), 1)
        self._note(f"{self._why_ended(code)}; its workers go on, and another one is started")
        self._former.append(self._present)
        try:
            self._present = self._start()
        except OSError as error:
            raise WorkerDied(f"no worker can be started: {error.strerror}", 1) from error
        for request in ({"groups": [each.pid for each in self._former]}, *self._said):
            self._present.say(request)

    @property
    def _number(self) -> tuple[int, int]:
        """Of the present one, as Silence tells workers apart."""
        return 0, len(self._former)

    def _look(self, now: float) -> None:
        """End one that does not answer; no answer is owed while it imports."""
        if self._present.is_busy:
            self._silence.hear(self._number)
        elif now >= self._next_ping:
            self._next_ping = now + PING_S
            self._present.say({"ping": True})
        if any(step == "kill" for _, step in self._silence.look(now, [self._number])):
            self._note(f"the fork server has answered nothing for {SILENT_S + STACK_S:g} s")
            self._present.kill()
