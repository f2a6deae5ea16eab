"""Has the objects of a caller in Python hear of the decoupled run, in the caller's thread."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dni_async.config.run_config import RunConfig
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.launcher.report.watcher import Watcher

if TYPE_CHECKING:
    from dni_async.launcher.plan.plan import Plan

__all__ = ["CallbackWatcher", "MakeView"]

MakeView = Callable[[RunResult, RunConfig], Any]


class CallbackWatcher(Watcher):
    """Calls the methods that the callbacks have; what one of them raises ends the run.

    Behind that only on_end is called, of all of them. view: makes what they are given of a run.
    """

    is_essential = True

    def __init__(self, callbacks: Sequence[object], view: MakeView) -> None:
        self._callbacks = callbacks
        self._make_view = view
        self._config = RunConfig()
        self._run: RunResult | None = None
        self._view: Any = None
        self._has_raised = False

    def lay_out(self, plan: Plan) -> None:
        """The settings as they are resolved."""
        self._config = plan.config

    def begin(self, run: RunResult) -> None:
        """on_start, of the decoupled run."""
        if run.kind == "decoupled":
            self._run, self._view = run, self._make_view(run, self._config)
            self._call("on_start")

    def trained(self, run: RunResult, num_batches: int) -> None:
        """Hand on to a baseline what is asked of the run while that is trained."""
        if self._run is not None:
            run.stop_asked = self._run.take_stop()

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """on_epoch, of the decoupled run."""
        if run.kind == "decoupled":
            self._call("on_epoch", epoch.to_dict())
        else:
            self.trained(run, 0)

    def died(self, restart: RestartResult) -> None:
        """on_restart."""
        self._call("on_restart", restart.to_dict())

    def end(self, report: Mapping[str, Any]) -> None:
        """on_end of all, whatever one of them raises; the first error is the run's, if none was."""
        if self._view is None:
            return
        raised = [each for each in map(partial(self._end_one, report), self._callbacks) if each]
        is_first = report["status"] in ("finished", "stopped")
        for what, _ in raised[1:] if is_first else raised:
            warnings.warn(f"{what}, behind what ended the run", RuntimeWarning, stacklevel=2)
        if raised and is_first:
            raise raised[0][1]

    def _end_one(self, report: Mapping[str, Any], callback: object) -> tuple[str, Exception] | None:
        """What it raised, in words and as it is."""
        try:
            self._call_one(callback, "on_end", report)
        except Exception as error:
            return f"{type(callback).__name__}.on_end raised {error!r}", error
        return None

    def _call(self, name: str, *arguments: object) -> None:
        if self._has_raised:
            return
        try:
            for callback in self._callbacks:
                self._call_one(callback, name, *arguments)
        except BaseException:
            self._has_raised = True
            raise

    def _call_one(self, callback: object, name: str, *arguments: object) -> None:
        method = getattr(callback, name, None)
        if callable(method):
            method(self._view, *arguments)
