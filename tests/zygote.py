"""A process that has imported what is slow to import, and forks the commands that tests start.

A command of ours spends two seconds of processor time on importing torch, and as much again for
its fork server. What is forked here skips that and nothing else: it is a process of its own, in a
session of its own, with the environment, folder, output, signals and exit code of that command;
the processes that it starts of our modules are its children, forked in the same way.

Run as ``python tests/zygote.py FD``. On that socket come JSON objects (command, cwd, environment),
each with three descriptors: standard input, output, and one on which the pid, then the exit code
(or minus the signal) are told, a line each. It ends when the socket does.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

MARK = "MARK_OF_DNI_TESTS"
ROOT = Path(__file__).resolve().parents[1]
FOREIGN = ("sklearn.datasets", "cloudpickle", "pytest", "tensorboard.compat.proto.event_pb2")
_path: list[str] = []
_main = sys.modules["__main__"]


def main() -> None:
    """Fork commands until the socket ends."""
    sys.path[:] = _path[:] = [str(ROOT), *(part for part in sys.path[1:] if part != str(ROOT))]
    for name in FOREIGN:
        importlib.import_module(name)
    import dni_async

    for module in pkgutil.walk_packages(dni_async.__path__, "dni_async."):
        importlib.import_module(module.name)
    gc.collect()
    control = socket.socket(fileno=int(sys.argv[1]))
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    selector.unregister(key.fd)
                    _tell_end(key.fd, *key.data)
                elif not _hear(control, selector):
                    return


def program_of(command: Sequence[str]) -> tuple[str, list[str]] | None:
    """What is to run, and its arguments: a module of ours, or a script; None: something else."""
    if list(command[:1]) != [sys.executable] or len(command) < 3:
        return None
    is_ours = command[1].endswith("launcher/places/bootstrap.py")
    is_benchmark = command[1] == "-m" and command[2].startswith("benchmarks.")
    is_script = command[1] == "-u" and command[2].endswith(".py")
    return (command[2], list(command[3:])) if is_ours or is_benchmark or is_script else None


def _hear(control: socket.socket, selector: selectors.BaseSelector) -> bool:
    """Do what is asked next; False at the end of the socket."""
    data, fds, _, _ = socket.recv_fds(control, 2**20, 3)
    if not data:
        return False
    asked = json.loads(data)
    pid = os.fork()
    if pid == 0:
        _become(asked, *fds)
    stdin, stdout, status = fds
    os.close(stdin)
    os.close(stdout)
    os.write(status, b"%d\n" % pid)
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))
    return True


def _tell_end(pidfd: int, pid: int, status: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):
        os.write(status, b"%d\n" % code)
    os.close(status)
    os.close(pidfd)


def _become(asked: dict[str, Any], stdin: int, stdout: int, _status: int) -> NoReturn:
    """In the child: be the command that was asked for."""
    gc.freeze()  # whatever is collected later closes none of the new process's descriptors
    os.setsid()
    os.chdir(asked["cwd"])
    _be_marked(asked["environment"][MARK])
    _redirect((stdin, stdout, stdout))
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked["beginning"] is not None:
        from tests.beginning import begin

        begin(asked["beginning"])
        _redirect_streams()
    subprocess.Popen = _ForkingPopen  # type: ignore[misc]
    _run(*program_of(asked["command"]), asked["environment"])  # type: ignore[misc]


def _be_marked(mark: str) -> None:
    """Have /proc/PID/environ show the mark, which is as long as the one it was started with."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    at = ctypes.string_at(start, end - start).index(f"{MARK}=".encode()) + len(MARK) + 1
    ctypes.memmove(start + at, mark.encode(), len(mark))


def _redirect(streams: Sequence[int]) -> None:
    """Have these descriptors as the standard ones, and files in Python that hold nothing yet."""
    sources = [os.dup(fd) for fd in streams]
    for target, source in enumerate(sources):
        os.dup2(source, target)
        os.close(source)
    _redirect_streams()


def _redirect_streams() -> None:
    """As the interpreter makes them at its start; None for one that is closed."""
    sys.stdin = _stream(0, "r")
    sys.stdout = _stream(1, "w")
    sys.stderr = _stream(2, "w", buffering=1, errors="backslashreplace")


def _stream(number: int, mode: str, **options: Any) -> Any:
    try:
        return os.fdopen(number, mode, closefd=False, **options)
    except OSError:
        return None


def _run(program: str, arguments: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Run it as the interpreter would: its exit code is the process's."""
    os.environ.clear()
    os.environ.update(environment)
    _forget_users_modules()
    import torch

    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    from dni_async.launcher.places.bootstrap import path_of_caller

    sys.path[:] = path_of_caller() or _path
    sys.argv = [program, *arguments]
    code = _code_of(program)
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _code_of(program: str) -> int:
    try:
        if program.endswith(".py"):
            sys.path.insert(0, str(Path(program).parent))
            if sys.stdout is not None:
                unbuffered = io.FileIO(1, "w", closefd=False)
                sys.stdout = io.TextIOWrapper(unbuffered, write_through=True)
            runpy.run_path(program, run_name="__main__")
        elif program.startswith("benchmarks."):
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            importlib.import_module(program).main()
    except SystemExit as leave:
        if leave.code is None or isinstance(leave.code, int):
            return leave.code or 0
        print(leave.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _forget_users_modules() -> None:
    """Those that a process before this one imported, from the folder of a test, and its script."""
    sys.modules["__main__"] = _main
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if place and not place.startswith(tuple(_path)):
            del sys.modules[name]


class _ForkingPopen(subprocess.Popen[Any]):
    """One that forks where a module of ours is started, and executes everything else."""

    def _execute_child(self, args: Any, *rest: Any) -> None:
        found = None if isinstance(args, (str, bytes)) else program_of(args)
        if found is None or rest[1] is not None:  # preexec_fn
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        pass_fds, cwd, environment = rest[3:6]
        pipes, is_leader = rest[9:15], rest[20]
        # What a handler raises in a hook that Python runs at a fork would be lost; exec runs none.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self.pid = os.fork()
        if self.pid == 0:
            with suppress(BaseException):
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                _be_child(pass_fds, cwd, (pipes[0], pipes[3], pipes[5]), is_leader=is_leader)
                _run(*found, dict(os.environ if environment is None else environment))
            os._exit(255)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _be_child(
    pass_fds: Sequence[int], cwd: str | None, streams: Sequence[int], *, is_leader: bool
) -> None:
    """What lies between fork and exec, and what exec does to the process before it."""
    gc.freeze()  # whatever is collected later closes none of the new process's descriptors
    if is_leader:
        os.setsid()
    if cwd is not None:
        os.chdir(cwd)
    _redirect([number if fd == -1 else fd for number, fd in enumerate(streams)])
    kept = sorted({0, 1, 2, *pass_fds})
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)
    signal.set_wakeup_fd(-1)
    for signum in signal.valid_signals():
        if callable(signal.getsignal(signum)):
            signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()


if __name__ == "__main__":
    main()
