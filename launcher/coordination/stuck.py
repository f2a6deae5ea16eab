"""Workers whose process lives but whose loop stands still: shown with their stack, then killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from dni_async.launcher.coordination.causes import Cause
from dni_async.launcher.decisions.roster import Roster
from dni_async.launcher.decisions.silence import Silence, Worker
from dni_async.launcher.places.logs import read_from, size_of
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.system import STACK_SIGNAL

__all__ = ["StuckWorkers", "state_of"]

_STATES = {"T": "stopped (as by SIGSTOP)", "t": "stopped by a debugger", "Z": "dead"}
_HELD = "held by the kernel, as by a disk that does not answer"


class StuckWorkers:
    """Looks after the workers of a run that train.

    A worker tells of its progress twice a second, also while it waits for a neighbour. One that
    does not is asked for its stack, which faulthandler writes into its log whatever it is at; all
    is told to the user; then it is killed, and what follows is what follows any death.

    alive: the workers of this host, stages by pid. note: tells the user.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        roster: Roster,
        alive: Mapping[int, int],
        note: Callable[[str], None],
    ) -> None:
        self._after_s = plan.config.stuck_after_s
        self._plan = plan
        self._folder = folder
        self._roster = roster
        self._alive = alive
        self._note = note
        self._silence = Silence(self._after_s)
        self._log_sizes: dict[int, int] = {}  # by pid, when it was asked for its stack
        self._killed: set[int] = set()

    def hear(self, stage: int) -> None:
        """The stage's worker has told of its progress."""
        self._silence.hear(self._worker(stage))

    def look(self, now: float) -> None:
        """Do what is due by now about those that are silent."""
        training = self._roster.ready - self._roster.left
        for (stage, _), step in self._silence.look(now, map(self._worker, training)):
            pid = self._roster.pids[stage]
            if step == "ask":
                self._ask(stage, pid)
            else:
                self._kill(stage, pid)

    def reword(self, cause: Cause, pid: int) -> None:
        """Have the cause of a death say what it was that was killed."""
        if pid in self._killed:
            log = self._folder.log(cause.exit[0])
            cause.text = f"{self._name(cause.exit[0], pid)} and was killed; its log is {log}"

    def _worker(self, stage: int) -> Worker:
        return stage, self._roster.incarnations.get(stage, 0)

    def _is_here(self, stage: int, pid: int) -> bool:
        """Whether the pid is of this host: another one may have given out the same."""
        return self._alive.get(pid) == stage

    def _name(self, stage: int, pid: int) -> str:
        device = self._plan.devices[stage]
        return f"stage {stage} ({device}, pid {pid}) was stuck for {self._after_s:g} s"

    def _ask(self, stage: int, pid: int) -> None:
        """Have it write its stack, if it runs at all."""
        self._log_sizes[pid] = size_of(self._folder.log(stage))
        if self._is_here(stage, pid) and state_of(pid) not in _STATES:
            with suppress(ProcessLookupError):
                os.kill(pid, STACK_SIGNAL)

    def _kill(self, stage: int, pid: int) -> None:
        """Tell where it stands, then kill it."""
        if not self._is_here(stage, pid):
            host = self._roster.hellos[stage].host
            self._note(f"{self._name(stage, pid)}; it runs on {host} and is not killed from here")
            return
        self._note(f"{self._name(stage, pid)}: {self._where(stage, pid)}")
        self._killed.add(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _where(self, stage: int, pid: int) -> str:
        """What it is at: its stack, or why it has none."""
        state = state_of(pid)
        if state in _STATES:
            return f"its process is {_STATES[state]}"
        stack = read_from(self._folder.log(stage), self._log_sizes.pop(pid, 0))
        if stack:
            return f"it stands at\n{stack}"
        return f"it is {_HELD}" if state == "D" else "it did not write where it stands"


def state_of(pid: int) -> str:
    """The letter that the kernel gives a process's state; "" where it does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]  # its name may hold anything
