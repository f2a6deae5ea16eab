"""Ends the first act where it would take too long: beside other work, a baseline may."""

from __future__ import annotations

import time

from dni_async.launcher.report.results import RunResult
from dni_async.launcher.report.watcher import Watcher
from dni_async.wire.messages import Progress

__all__ = ["Curtain"]


class Curtain(Watcher):
    """Asks whatever trains to stop from a moment of the monotonic clock on."""

    def __init__(self, falls_at: float) -> None:
        self._falls_at = falls_at
        self._run: RunResult | None = None

    def begin(self, run: RunResult) -> None:
        """It trains from now on."""
        self._run = run

    def progress(self, progress: Progress) -> None:
        """Look at the clock."""
        self._look()

    def trained(self, run: RunResult, num_batches: int) -> None:
        """Look at the clock."""
        self._look()

    def _look(self) -> None:
        run = self._run
        if run is None or run.stopped is not None or time.monotonic() < self._falls_at:
            return
        run.stop_asked = "the first act of the demo has had its time"
