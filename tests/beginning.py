"""How a forked process begins: with what its parent had it ignore, what limits it, who it is.

What nohup, a shell, timeout, setpriv, prlimit or a container do before they become a command, done
to a process that is about to be one.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import subprocess
import termios
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Beginning", "begin", "remove_groups"]

GROUPS, GROUP = Path("/sys/fs/cgroup/cpu"), "dni-test-"  # of version 1

_NEW_MOUNTS, _NEW_NETWORK, _NEW_PIDS = 0x00020000, 0x40000000, 0x20000000
_SET_DUMPABLE, _SET_KEEPCAPS = 4, 8  # of prctl
_CAPABILITIES, _MAY_READ = 0x20080522, 1 << 2  # the version, CAP_DAC_READ_SEARCH
_LIBC = ctypes.CDLL(None, use_errno=True)


@cache
def _may_go_apart() -> bool:
    try:
        tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"])
    except OSError:
        return False
    return os.geteuid() == 0 and not tried.returncode


@dataclass(frozen=True)
class Beginning:
    """ignored: signals. closed: descriptors. limits: (name, bytes or count), soft and hard.

    stdout, stderr: paths that take their place; else the test reads them. quota: cores that a
    group of its own grants. mounts: shell commands in a
    mount namespace of its own; network: the same in one without a network. user: its number. nice:
    added. is_first: process 1 of a namespace. is_bare: nothing is in the environment but what tests
    need. environment: beside that. folder: where it is. has_terminal: standard output is the
    terminal that controls it.
    """

    ignored: tuple[int, ...] = ()
    closed: tuple[int, ...] = ()
    limits: tuple[tuple[str, int], ...] = ()
    stdout: str = ""
    stderr: str = ""
    quota: float = 0.0
    mounts: str = ""
    network: str = ""
    user: int = 0
    nice: int = 0
    is_first: bool = False
    is_bare: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    folder: str = ""
    has_terminal: bool = False

    @property
    def may_be(self) -> bool:
        """Whether this process may begin others so."""
        needs_root = self.mounts or self.network or self.user or self.is_first
        is_able = not needs_root or _may_go_apart()
        return is_able and (not self.quota or os.access(GROUPS / "cpu.cfs_quota_us", os.W_OK))

    def to_json(self) -> dict[str, Any]:
        """As the zygote is told."""
        return asdict(self)


def begin(asked: dict[str, Any]) -> None:
    """Be so from now on, in a process whose standard streams are its own."""
    _go_apart(asked)
    for name, limit in asked["limits"]:
        resource.setrlimit(getattr(resource, name), (limit, limit))
    os.nice(asked["nice"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        if asked[name]:
            opened = os.open(asked[name], os.O_WRONLY)
            os.dup2(opened, number)
            os.close(opened)
    if asked["has_terminal"]:
        fcntl.ioctl(1, termios.TIOCSCTTY, 0)
    if asked["user"]:
        _be_user(asked["user"])
    for number in asked["closed"]:
        os.close(number)
    for signum in asked["ignored"]:
        signal.signal(signum, signal.SIG_IGN)


def _go_apart(asked: dict[str, Any]) -> None:
    """Into namespaces and a folder of one's own."""
    if asked["mounts"]:
        _unshare(_NEW_MOUNTS)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)  # nobody else sees it
        subprocess.run(["sh", "-ec", asked["mounts"]], check=True)
    if asked["network"]:
        _unshare(_NEW_NETWORK)
        subprocess.run(["sh", "-ec", asked["network"]], check=True)
    if asked["quota"]:
        _join_group(asked["quota"])
    if asked["folder"]:
        os.chdir(os.fsencode(asked["folder"]))
    if asked["is_first"]:
        _be_first()


def _be_user(number: int) -> None:
    """Somebody else, whose environment the test may still read.

    As the interpreter may lie where that user could not read it, reading is allowed everywhere.
    """
    _LIBC.prctl(_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(number)
    os.setuid(number)
    sets = (ctypes.c_uint32 * 6)(_MAY_READ, _MAY_READ, 0, 0, 0, 0)
    if _LIBC.capset((ctypes.c_uint32 * 2)(_CAPABILITIES, 0), sets):
        raise OSError(ctypes.get_errno(), "capset")
    _LIBC.prctl(_SET_DUMPABLE, 1, 0, 0, 0)


def _join_group(cores: float) -> None:
    group = GROUPS / f"{GROUP}{os.getpid()}"
    group.mkdir()
    period = int((group / "cpu.cfs_period_us").read_text())
    (group / "cpu.cfs_quota_us").write_text(str(int(cores * period)))
    (group / "cgroup.procs").write_text(str(os.getpid()))


def remove_groups() -> None:
    """Those that nobody is in any more."""
    for group in GROUPS.glob(f"{GROUP}*"):
        with suppress(OSError):
            group.rmdir()


def _unshare(flags: int) -> None:
    if _LIBC.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def _be_first() -> None:
    """Go on in a child that is process 1; this one waits, and ends as that does."""
    _unshare(_NEW_PIDS)
    pid = os.fork()
    if pid == 0:
        return
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os._exit(code if code >= 0 else 128 - code)
