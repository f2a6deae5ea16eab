"""How many cores others kept busy while a network was trained: whether its speed says anything."""

from __future__ import annotations

import time

from dni_async.launcher.report.results import RunResult
from dni_async.system.machine import CoreUse, core_use

__all__ = ["OthersWatch"]

EVERY_S = 0.25


class OthersWatch:
    """Fills in ``others_cores`` of a run that this process and those below it train.

    Of this host alone: a run with workers that something else started is not to be watched, for
    they would count as others.
    """

    def __init__(self, run: RunResult) -> None:
        self._run = run
        self._began: CoreUse | None = None
        self._looked_s = 0.0

    def begin(self) -> None:
        """Training begins now."""
        self._began = core_use()
        self._looked_s = time.monotonic()

    def look(self, *, is_last: bool = False) -> None:
        """As often as one likes; what is told is of all the time since it began."""
        now_s = time.monotonic()
        if self._began is None or (now_s - self._looked_s < EVERY_S and not is_last):
            return
        self._looked_s = now_s
        use = core_use()
        others = None if use is None else use.others_since(self._began)
        if others is not None:
            self._run.others_cores = others
