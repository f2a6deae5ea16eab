"""How processes end that this one has not started itself: noticed at once, and with the cause."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

__all__ = ["Ends", "adopted", "await_end", "ended_with", "has_ended", "reap", "state_of"]

LOOK_S = 0.5  # between looks at processes that have no descriptor
WORD_S = 1.0  # for the word of a parent that has reaped its child


class Ends:
    """Watches processes that live; each one's end is found once. A zombie has ended.

    selector: wakes at the end of whatever has a descriptor (Linux); others are looked at now and
    then. A process's number may be another's once it has been reaped, its descriptor never is.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._watched: dict[int, int | None] = {}  # pid -> its descriptor
        self._unseen: dict[int, float] = {}  # reaped by others: until when their word is awaited
        self._next_look = 0.0

    def watch(self, pid: int) -> None:
        """It lives, or did a moment ago."""
        descriptor = None
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):  # it is gone, or the kernel has none
                descriptor = os.pidfd_open(pid)
        self._watched[pid] = descriptor
        if descriptor is not None:
            self._selector.register(descriptor, selectors.EVENT_READ, pid)

    def found(self) -> list[tuple[int, int | None]]:
        """Which have ended, and how; None where nobody has said it in time.

        Whose parent has reaped it is waited for: that one's word comes.
        """
        found: list[tuple[int, int | None]] = []
        for pid in self._ended():
            code = ended_with(pid)
            if code is None:
                self._forget_descriptor(pid)
                self._unseen.setdefault(pid, time.monotonic() + WORD_S)
            else:
                found.append((pid, code))
        now = time.monotonic()
        found += [(pid, None) for pid, until in self._unseen.items() if now >= until]
        for pid, _ in found:
            self.forget(pid)
        return found

    def forget(self, pid: int) -> None:
        """Its end is known."""
        self._forget_descriptor(pid)
        self._watched.pop(pid, None)
        self._unseen.pop(pid, None)

    def kill_all(self) -> None:
        """End all that are watched."""
        for pid, descriptor in self._watched.items():
            with suppress(OSError):
                if descriptor is None:
                    os.kill(pid, signal.SIGKILL)
                else:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def close(self) -> None:
        """Watch none any longer."""
        for pid in list(self._watched):
            self.forget(pid)

    def _ended(self) -> list[int]:
        watched = self._watched
        ended = [key.data for key, _ in self._selector.select(0) if key.data in watched]
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_S
            blind = [pid for pid, descriptor in watched.items() if descriptor is None]
            ended += [pid for pid in blind if pid not in self._unseen and has_ended(pid)]
        return ended

    def _forget_descriptor(self, pid: int) -> None:
        descriptor = self._watched.get(pid)
        if descriptor is not None:
            self._selector.unregister(descriptor)
            os.close(descriptor)
            self._watched[pid] = None


def await_end(pid: int, timeout_s: float) -> None:
    """Until that process has ended, or so long. It stays a zombie."""
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        ends = Ends(selector)
        ends.watch(pid)
        while not ends.found() and (left_s := deadline - time.monotonic()) > 0:
            selector.select(min(left_s, LOOK_S))
        ends.close()


def ended_with(pid: int) -> int | None:
    """Of one that has ended: its exit code, or minus the signal that killed it.

    None where it has been reaped, so that it cannot be seen any more.
    """
    with suppress(OSError):  # no child of this process
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None:
            is_exit = found.si_code == os.CLD_EXITED
            return found.si_status if is_exit else -found.si_status
    fields = _fields(pid)
    return os.waitstatus_to_exitcode(int(fields[-1])) if fields[:1] == ["Z"] else None


def state_of(pid: int) -> str:
    """The letter that the kernel gives a process's state; "" where it does not say."""
    return "".join(_fields(pid)[:1])


def has_ended(pid: int) -> bool:
    """Whether no process of that number runs, as far as the system tells."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return state_of(pid) in ("Z", "X")


def reap(pid: int) -> bool:
    """Whether it was a child that had ended, and is forgotten now."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def adopted(sessions: Collection[int]) -> list[int]:
    """Children of this process in sessions of others, each named by who leads it, but the leaders.

    A session is entered by birth alone. So nobody is among them whom this process has started, as
    long as a leader that has ended is not reaped: until then its number is no other session's.
    """
    with suppress(OSError):  # not Linux, where nobody is adopted
        ours, found = str(os.getpid()), []
        for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal()):
            fields = _fields(pid)
            if fields[1:2] == [ours] and int(fields[3]) in sessions and pid not in sessions:
                found.append(pid)
        return found
    return []


def _fields(pid: int) -> list[str]:
    """What the kernel tells of a process behind its name; nothing where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # its name may hold anything
