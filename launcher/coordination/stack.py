"""Where a worker's process of this host stands, as it writes it down itself or the kernel says."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from dni_async.launcher.places.exits import state_of
from dni_async.launcher.places.local import read_from, size_of
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.system.machine import STACK_SIGNAL

__all__ = ["Stacks"]

_STATES = {"T": "stopped (as by SIGSTOP)", "t": "stopped by a debugger", "Z": "dead"}
_HELD = "held by the kernel, as by a disk that does not answer"


class Stacks:
    """The stacks that workers were asked for; they come into their logs in folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._log_sizes: dict[int, int] = {}  # by pid, when it was asked

    def ask(self, stage: int, pid: int) -> None:
        """Have the process write its stack, if it runs at all."""
        self._log_sizes[pid] = size_of(self._folder.log(stage))
        if state_of(pid) not in _STATES:
            with suppress(ProcessLookupError):
                os.kill(pid, STACK_SIGNAL)

    def where(self, stage: int, pid: int) -> str:
        """What it is at: its stack, or why it has none."""
        state = state_of(pid)
        if state in _STATES:
            return f"its process is {_STATES[state]}"
        stack = read_from(self._folder.log(stage), self._log_sizes.pop(pid, 0))
        if stack:
            return f"it stands at\n{stack}"
        return f"it is {_HELD}" if state == "D" else "it did not write where it stands"

    def kill(self, pid: int) -> None:
        """It has been shown, and goes."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
