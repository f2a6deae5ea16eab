"""Import torch once, then fork a worker whenever the launcher asks.

Speaks JSON lines over an inherited socket. From the launcher: ``{"start": {...}}``,
``{"import": [MODULE, ...]}`` (what all workers will need as well) and ``{"remove": [FOLDER, ...]}``
(delete these when the launcher is gone), with ``"kill": true`` last, when the workers are to be
killed then. To the launcher: ``{"started": stage, "pid": pid}`` and
``{"exited": pid, "code": code}``. When the launcher's end closes unsaid, the workers may take
leave; what is left after a few seconds is killed, and the folders are removed.

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
from dni_async.system import die_with_parent, name_process, output

PARTING_S = 4.0  # for a last checkpoint when the launcher has gone without a word


def serve(socket_fd: int, lifeline_fd: int) -> None:
    """Fork workers until the launcher's end of the socket closes."""
    import dni_async.workers.worker  # noqa: F401 - imports torch and all that a worker needs, once

    name_process("dni-fork-server")
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
            if selector.select(left_s):
                os.read(wake, 4096)
                server.reap()
    server.clean_up()


class _ForkServer:
    """The children that are alive, and what to remove in the end."""

    def __init__(self, launcher: socket.socket, private_fds: list[int], lifeline_fd: int) -> None:
        self._launcher = launcher
        self._private_fds = private_fds
        self._lifeline_fd = lifeline_fd
        self._children: set[int] = set()
        self._buffer = b""
        self._folders: list[str] = []
        self._may_kill = False

    @property
    def awaits_workers(self) -> bool:
        """Whether there are any that may take leave by themselves."""
        return bool(self._children) and not self._may_kill

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
            for module in request.get("import", ()):
                importlib.import_module(module)
                gc.freeze()
            if "start" in request:
                self._fork(request["start"])
        return bool(received)

    def reap(self) -> None:
        """Report every child that has exited."""
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._children.discard(pid)
                self.say({"exited": pid, "code": os.waitstatus_to_exitcode(status)})

    def clean_up(self) -> None:
        """Kill what is left, wait for it, remove the run's folders."""
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        for folder in self._folders:
            remove_scratch(folder)

    def _fork(self, request: dict[str, Any]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._children.add(pid)
            self.say({"started": request["stage"], "pid": pid})
            return
        code = 1
        try:
            die_with_parent(parent)
            code = self._become_worker(request)
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else 1
        except Exception:
            output.complain(traceback.format_exc())
        finally:
            output.flush()
            os._exit(code)

    def _become_worker(self, request: dict[str, Any]) -> int:
        from dni_async.workers.startup.assignment import Assignment
        from dni_async.workers.worker import run_worker

        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in self._private_fds:
            os.close(fd)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        return run_worker(
            Assignment(
                request["coordinator"],
                request["stage"],
                request["run_id"],
                self._lifeline_fd,
                request["incarnation"],
                keys=request["keys"],
                is_open=request["is_open"],
                interface=request["interface"],
                ticket=request["ticket"],
            )
        )
