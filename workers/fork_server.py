"""Import torch once, then fork a worker whenever the launcher asks.

Speaks JSON lines over an inherited socket. From the launcher: ``{"start": {...}}``,
``{"import": [MODULE, ...]}`` (what all workers will need as well), ``{"groups": [GROUP, ...]}``
(processes of servers before this one, which have ended) and ``{"remove": [FOLDER, ...]}``
(delete these when the launcher is gone), with ``"kill": true`` last, when the workers are to be
killed then; and ``{"ping": true}``, answered by ``{"pong": true}``. To the launcher:
``{"ready": true}`` after every import, the first one of all that a worker needs;
``{"started": stage, "incarnation": i, "pid": pid}``, from the worker itself, and
``{"exited": pid, "code": code, "stage": stage, "incarnation": i}``. When the launcher's end closes
unsaid, the workers may take leave; what is left after a few seconds is killed, and the folders are
removed.

When this process dies, its workers go on, watched by the launcher and its next fork server. Who
loses its parent below this process becomes its child, and is reaped here.

This process never opens a ZeroMQ context, starts a thread or computes with torch: a fork would
inherit them broken.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import time
import traceback
from contextlib import suppress
from typing import Any

from dni_async.files.scratch import remove_scratch
from dni_async.system import output
from dni_async.system.machine import adopt_orphans, name_process

PARTING_S = 4.0  # for a last checkpoint when the launcher has gone without a word
LOOK_S = 0.1  # between looks at workers that are not this process's children


def serve(socket_fd: int, lifeline_fd: int) -> None:
    """Fork workers until the launcher's end of the socket closes."""
    import dni_async.workers.worker  # noqa: F401 - imports torch and all that a worker needs, once

    name_process("dni-fork-server")
    adopt_orphans(is_on=True)  # what a dead worker leaves is reaped here, not by a user's process
    gc.freeze()  # what is imported is shared with the workers; collecting would copy it
    launcher = socket.socket(fileno=socket_fd)
    wake, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    with selectors.DefaultSelector() as selector, launcher:
        selector.register(launcher, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        server = _ForkServer(launcher, [socket_fd, wake, wake_write], lifeline_fd)
        server.say({"ready": True})
        while True:
            readable = {key.fd for key, _ in selector.select()}
            if wake in readable:
                os.read(wake, 4096)
                server.reap()
            if launcher.fileno() in readable and not server.listen():
                break
        selector.unregister(launcher)
        deadline = time.monotonic() + PARTING_S
        while server.awaits_workers and (left_s := deadline - time.monotonic()) > 0:
            if selector.select(min(left_s, LOOK_S)):
                os.read(wake, 4096)
                server.reap()
    server.clean_up()


class _ForkServer:
    """The children that are alive, and what to remove in the end."""

    def __init__(self, launcher: socket.socket, private_fds: list[int], lifeline_fd: int) -> None:
        self._launcher = launcher
        self._private_fds = private_fds
        self._lifeline_fd = lifeline_fd
        self._children: dict[int, dict[str, Any]] = {}  # by pid, what they were asked for by
        self._groups: list[int] = []
        self._buffer = b""
        self._folders: list[str] = []
        self._may_kill = False

    @property
    def awaits_workers(self) -> bool:
        """Whether there are any that may take leave by themselves."""
        return not self._may_kill and bool(self._children or any(map(_is_there, self._groups)))

    def say(self, message: dict[str, Any]) -> None:
        """Tell the launcher, if it is still there."""
        with suppress(OSError):  # the next read sees the end of the socket and cleans up
            self._launcher.sendall(json.dumps(message).encode() + b"\n")

    def listen(self) -> bool:
        """Do what the launcher asks; False when it is gone."""
        try:
            received = self._launcher.recv(65536)
        except ConnectionError:
            received = b""
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "remove" in request:
                self._folders = request["remove"]
                self._may_kill = request.get("kill", False)
            self._groups = request.get("groups", self._groups)
            if "ping" in request:
                self.say({"pong": True})
            if "import" in request:
                self._import(request["import"])
            if "start" in request:
                self._fork(request["start"])
        return bool(received)

    def reap(self) -> None:
        """Report every worker that has exited; what one has left behind has no parent but this."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid in self._children:
                    who = _who(self._children.pop(pid))
                    self.say({"exited": pid, "code": os.waitstatus_to_exitcode(status), **who})

    def clean_up(self) -> None:
        """Kill what is left, wait for what is this process's own, remove the run's folders."""
        for group in self._groups:
            with suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        for folder in self._folders:
            remove_scratch(folder)

    def _import(self, modules: list[str]) -> None:
        for module in modules:
            importlib.import_module(module)
        gc.freeze()
        self.say({"ready": True})

    def _fork(self, request: dict[str, Any]) -> None:
        pid = os.fork()
        if pid:
            self._children[pid] = request
            return
        code = 1
        try:
            self._announce(request)
            code = self._become_worker(request)
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else 1
        except Exception:
            output.complain(traceback.format_exc())
        finally:
            output.flush()
            os._exit(code)

    def _announce(self, request: dict[str, Any]) -> None:
        """Say, in the worker itself, that it is there: so nobody is made whom the launcher does not
        know of. Raises OSError where that has done with this server.
        """
        who = _who(request)
        told = {"started": who["stage"], "incarnation": who["incarnation"], "pid": os.getpid()}
        self._launcher.sendall(json.dumps(told).encode() + b"\n")

    def _become_worker(self, request: dict[str, Any]) -> int:
        from dni_async.workers.startup.assignment import Assignment
        from dni_async.workers.worker import run_worker

        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in self._private_fds:
            os.close(fd)
        try:
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:  # of a full disk: the worker trains without one
            log = os.open(os.devnull, os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        return run_worker(Assignment.told(request, self._lifeline_fd))


def _who(request: dict[str, Any]) -> dict[str, int]:
    """The worker that was asked for."""
    return {"stage": request["stage"], "incarnation": request["incarnation"]}


def _is_there(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody's it is
        return True
    return True
