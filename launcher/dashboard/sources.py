"""Where the pages get what they show: the run that goes on, and the runs that a folder holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from dni_async.launcher.dashboard.curves import learning_of, row_of_run
from dni_async.launcher.dashboard.finished import told_by_metrics, written_learning, written_now
from dni_async.launcher.dashboard.header import told_header, told_pace
from dni_async.launcher.dashboard.ledger import Ledger
from dni_async.launcher.dashboard.line import told_line, told_restarts
from dni_async.launcher.dashboard.logs import Stacks, list_logs, tail_of
from dni_async.launcher.dashboard.pace import ROW
from dni_async.launcher.dashboard.timelines import (
    FIRST_BATCHES,
    Timelines,
    told_batch_s,
    told_timeline,
)
from dni_async.launcher.dashboard.told_marks import TOLD_S, read_told
from dni_async.launcher.report.shelf.differing import differences
from dni_async.launcher.report.shelf.shelf import Shelf

__all__ = ["LiveRun", "Sources", "told_now", "written"]

MAX_COMPARED = 12
KEPT_S = 1.0  # that a first page is true: who is silent is so for longer, though nobody tells that


class LiveRun:
    """The run of this launcher. folder: where it is kept."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger = ledger
        self.folder = folder
        self.stacks = Stacks(folder)
        self._now: tuple[int, float, str] = (-1, 0.0, "")

    @property
    def name(self) -> str:
        """As among other runs: that of its folder."""
        return self.folder.resolve().name

    def now(self) -> str:
        """The first page as JSON; made once however many look, until more is told or it is old."""
        version, at_s = self.ledger.version, monotonic()
        if self._now[0] != version or at_s - self._now[1] >= KEPT_S:
            self._now = (version, at_s, written(told_now(self.ledger)))
        return self._now[2]


class Sources:
    """live: the run that goes on, if one does. shelf: the finished ones."""

    def __init__(self, live: LiveRun | None, shelf: Shelf) -> None:
        self.live = live
        self._shelf = shelf
        self._timelines = Timelines()

    def is_live(self, name: str) -> bool:
        """Whether it is the run that goes on."""
        return self.live is not None and self.live.name == name

    def site(self) -> dict[str, Any]:
        """What a page asks first: the run that goes on, if any."""
        return {"live": None if self.live is None else self.live.name, "columns": list(ROW)}

    def runs(self) -> dict[str, Any]:
        """The table of runs, the one that goes on first."""
        rows = [row for row in self._shelf.rows() if not self.is_live(row["name"])]
        if self.live is not None:
            rows.insert(0, self._live_row(self.live))
        return {"runs": rows}

    def now(self, name: str) -> str | None:
        """The first page of a run as JSON; None where there is no such run."""
        if self.live is not None and self.is_live(name):
            return self.live.now()
        report = self._shelf.report(name)
        return None if report is None else written(written_now(report))

    def learning(self, name: str) -> dict[str, Any] | None:
        """The curves of a run."""
        if self.live is not None and self.is_live(name):
            moment = self.live.ledger.moment()
            told = learning_of([row_of_run(run) for run in moment.runs])
            return told | {"running": _running_loss(self.live.ledger.history())}
        report = self._shelf.report(name)
        return None if report is None else written_learning(report)

    def health(self, name: str) -> dict[str, Any] | None:
        """Windows, credits and memory over time, and the logs of a run."""
        folder = self._folder(name)
        if folder is None:
            return None
        if self.live is not None and self.is_live(name):
            rows = self.live.ledger.history()
        else:
            rows = told_by_metrics(folder)
        return {
            "rows": {str(stage): table for stage, table in sorted(rows.items())},
            "logs": list_logs(folder),
            "shows_stacks": self.is_live(name),
        }

    def timeline(
        self, name: str, began_s: float | None, length_s: float | None, *, is_lockstep: bool
    ) -> dict[str, Any] | None:
        """What all workers did when; the last seconds of a run that goes on."""
        folder = self._folder(name)
        if folder is None:
            return None
        if self.live is not None and self.is_live(name):
            moment = self.live.ledger.moment()
            length_s = length_s or FIRST_BATCHES * told_batch_s(moment) or TOLD_S
            told = read_told(folder, monotonic() - moment.at_s, length_s)
            return told_timeline(moment, told, is_lockstep=is_lockstep)
        report = self._shelf.report(name)
        return self._timelines.of(folder, began_s, length_s, is_lockstep=is_lockstep, report=report)

    def log(self, name: str, log: str) -> str | None:
        """The end of a log of a run."""
        folder = self._folder(name)
        return None if folder is None else tail_of(folder, log)

    def compare(self, wanted: Sequence[str]) -> dict[str, Any]:
        """The curves of several runs, and the settings that differ."""
        named = [(name, self._settings(name)) for name in wanted[:MAX_COMPARED]]
        found = [(name, settings) for name, settings in named if settings is not None]
        return {
            "names": [name for name, _ in found],
            "settings": differences([settings for _, settings in found]),
            "learning": [self.learning(name) for name, _ in found],
        }

    def _settings(self, name: str) -> dict[str, Any] | None:
        if self.live is not None and self.is_live(name):
            facts = self.live.ledger.moment().facts
            return {} if facts is None else dict(facts.settings)
        report = self._shelf.report(name)
        return None if report is None else dict(report["config"])

    def _folder(self, name: str) -> Path | None:
        if self.live is not None and self.is_live(name):
            return self.live.folder
        return self._shelf.path(name)

    def _live_row(self, live: LiveRun) -> dict[str, Any]:
        head = told_pace(live.ledger.moment())
        keys = ("status", "data", "rule", "metric", "is_share", "value", "samples_per_second")
        row = {key: head.get(key) for key in keys}
        own = {"name": live.name, "epochs": head.get("epoch")}
        return own | row | {"restarts": head.get("num_restarts")}


def _running_loss(history: Mapping[int, Sequence[Sequence[Any]]]) -> dict[str, list[Any]]:
    """The head's mean training loss of the epoch that goes on, over seconds since the launcher."""
    loss, seconds = ROW.index("loss"), ROW.index("seconds")
    rows = [row for row in history[max(history)] if row[loss] is not None] if history else []
    return {"seconds": [row[seconds] for row in rows], "loss": [row[loss] for row in rows]}


def told_now(ledger: Ledger) -> dict[str, Any]:
    """The first page of the run that goes on."""
    moment = ledger.moment()
    boxes, links = told_line(moment)
    restarts = [row for run in moment.runs for row in told_restarts(run)]
    return {
        "version": moment.version,
        **told_header(moment),
        "stages": boxes,
        "links": links,
        "restarts": restarts,
        "epochs_told": sum(len(run.epochs) for run in moment.runs),
    }


def written(value: Any) -> str:
    """value as JSON that browsers read: what is not finite is null."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:  # rare, and several times as slow
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
