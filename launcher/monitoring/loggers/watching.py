"""A run as loggers know one: settings, curves over updates, restarts, how it ended."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dni_async.config.run_config import RunConfig
from dni_async.config.settings import SETTINGS
from dni_async.launcher.monitoring.loggers.log import Ending, Facts, Log, Row, keep, kept_in
from dni_async.launcher.monitoring.loggers.telling import Telling
from dni_async.launcher.monitoring.tags import of_epoch, of_point, updates_at
from dni_async.launcher.report.building import shown_settings
from dni_async.launcher.report.curves import CurvePoint
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.launcher.report.watcher import Watcher

if TYPE_CHECKING:
    from dni_async.launcher.plan.plan import Plan

__all__ = ["LoggedRun"]

END_S: Final = 30.0  # for the rest to be told when the run has ended well
HASTE_S: Final = 5.0  # when it was interrupted


class LoggedRun(Watcher):
    """Has a logger told what is heard; raises OSError once that has failed.

    title: what the user calls it. folder: the run directory. kept: the name of the file in there
    that says which run of the logger's a resumed one goes on with, and from which update on that
    lacks something, if it does.
    """

    def __init__(self, title: str, make: Callable[[], Log], folder: Path, kept: str) -> None:
        self.title = title
        self._make = make
        self._folder = folder
        self._kept = folder / kept
        self._telling: Telling | None = None
        self._plan: Plan | None = None
        self._run: RunResult | None = None
        self._ours = ""  # the name of the decoupled run
        self._at = 0  # the last update of the present run
        self._is_known = False  # to the logger, from before
        self._missed: int | None = None  # the update from which on it has not been told all

    def lay_out(self, plan: Plan) -> None:
        """What is to be trained, and by whom."""
        self._plan = plan
        self._is_known = self._kept.exists()
        self._missed = kept_in(self._kept).get("missed")
        self._telling = Telling(self.title, self._make)
        facts = _facts(plan, self._folder)
        self._put(lambda log: log.open(facts))

    def begin(self, run: RunResult) -> None:
        """A network is trained; one before it has been."""
        if self._run is not None:
            self._finish(self._run, "finished", {})
        self._run, self._at = run, 0
        if run.kind == "decoupled":
            self._ours = run.name
        name, kind, rule = run.name, run.kind, run.rule
        self._put(lambda log: log.begin(name, kind, rule))
        for point in run.told.points:
            self.point(run, point)
        for epoch in run.epochs:
            self.epoch(run, epoch)

    def point(self, run: RunResult, point: CurvePoint) -> None:
        """What a stage did in the updates since its point before."""
        is_new = point.updates > run.told.updates.get(point.curve, 0)
        if is_new or self._lacks(point.updates):
            self._add(run, point.updates, point.seconds, of_point(run, point))

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """Its losses, metrics, samples per second, and what each boundary told."""
        assert self._plan is not None
        seconds = sum(each.seconds for each in run.epochs if each.epoch <= epoch.epoch)
        accumulate = self._plan.config.accumulate
        updates = updates_at(epoch.epoch, self._plan.num_train_batches, accumulate)
        if epoch.epoch > run.told.epoch or self._lacks(updates):
            self._add(run, updates, seconds, of_epoch(run, epoch))

    def died(self, restart: RestartResult) -> None:
        """The worker of a stage is gone."""
        self._restarted(restart, restart.cause)

    def recovered(self, restart: RestartResult) -> None:
        """The worker that replaces it has made its first update."""
        assert restart.seconds is not None
        back = f"stage {restart.stage} was back at work after {restart.seconds:.2f} s"
        self._restarted(restart, f"{restart.cause}; {back}")

    def end(self, report: Mapping[str, Any]) -> None:
        """The launch is over: wait for what has not been told, for a while."""
        ending: Ending = "failed"
        if report["status"] in ("finished", "stopped"):
            ending = "finished"
        elif report["status"] == "interrupted":
            ending = "interrupted"
        if self._run is not None:
            self._finish(self._run, ending, report)
        if self._telling is not None:
            try:
                self._telling.end(HASTE_S if ending == "interrupted" else END_S)
            finally:
                self._keep_missed(self._telling)

    def _put(self, what: Row | Callable[[Log], None]) -> None:
        if self._telling is None:
            return
        try:
            self._telling.put(what)
        except OSError:
            is_ours = self._run is not None and self._run.name == self._ours
            self._keep_missed(self._telling, *([self._at + 1] if is_ours else []))
            raise

    def _keep_missed(self, telling: Telling, *behind: int) -> None:
        """Write down where the logger's run lacks something, for a resumed one to tell it.

        behind: the update from which on nothing is told any more.
        """
        missed = telling.missed(self._ours)
        first = min([*behind] if missed is None else [*behind, missed], default=None)
        if self._kept.exists() and first != kept_in(self._kept).get("missed"):
            keep(self._kept, missed=first)

    def _lacks(self, updates: int) -> bool:
        """Whether the logger has not heard of that update, though it was told of."""
        return not self._is_known or (self._missed is not None and updates >= self._missed)

    def _finish(self, run: RunResult, ending: Ending, report: Mapping[str, Any]) -> None:
        name = run.name
        self._put(lambda log: log.finish(name, ending, report))

    def _restarted(self, restart: RestartResult, text: str) -> None:
        run = self._run
        if run is None:
            return
        number = run.restarts.index(restart) + 1
        self._put(lambda log: log.mark(run.name, f"restart.{number}", text))
        if restart.seconds is None:
            values = {"restarts": float(number)}
            self._put(Row(run.name, self._at, run.train_seconds, values))

    def _add(
        self, run: RunResult, updates: int, seconds: float, values: Mapping[str, float]
    ) -> None:
        self._at = max(self._at, updates)
        if values:
            self._put(Row(run.name, updates, seconds, values))


def _facts(plan: Plan, folder: Path) -> Facts:
    config: RunConfig = plan.config
    settings = shown_settings(config)
    changed = [
        f"{name}={settings[name]}"
        for name, each in SETTINGS.items()
        if getattr(config, name) != each.default
    ]
    about = {
        "data": plan.dataset_name,
        "stages": str(plan.num_stages),
        "dni_async": version("dni-async"),
        "torch": version("torch"),
        "python": platform.python_version(),
    }
    return Facts(folder, settings, ", ".join(changed), about)
