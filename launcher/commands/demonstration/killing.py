"""Kills one worker in the middle of a run, as the out-of-memory killer would."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dni_async.launcher.report.results import RestartResult
from dni_async.launcher.report.watcher import Watcher
from dni_async.wire.messages import Progress

if TYPE_CHECKING:
    from dni_async.launcher.plan.plan import Plan

__all__ = ["Killing"]

MIDDLE: Final = 1 / 3  # of the updates: there is time left to show the rest


class Killing(Watcher):
    """kill -9 on the worker of the middle stage, once, and what came of it.

    killed: the stage and its process id, None before. restart: from its death on; seconds in it
    from its replacement's first update on.
    """

    def __init__(self) -> None:
        self.killed: tuple[int, int] | None = None
        self.restart: RestartResult | None = None
        self._pids: dict[int, int] = {}
        self._stage = self._updates = 0

    def lay_out(self, plan: Plan) -> None:
        """Choose the stage, and when it dies."""
        self._stage = plan.num_stages // 2
        self._updates = round(plan.num_updates * MIDDLE)

    def started(self, startup_s: float, pids: Mapping[int, int]) -> None:
        """Keep the process ids."""
        self._pids = dict(pids)

    def progress(self, progress: Progress) -> None:
        """Kill it when it is far enough."""
        is_due = progress.counters.work.updates >= self._updates
        pid = self._pids.get(self._stage)
        if progress.stage != self._stage or not is_due or self.killed or pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed = (self._stage, pid)

    def died(self, restart: RestartResult) -> None:
        """The launcher has noticed; if it was not by us, that process id is nobody's any more."""
        self._pids.pop(restart.stage, None)
        if self.killed is not None and restart.stage == self.killed[0] and self.restart is None:
            self.restart = restart
