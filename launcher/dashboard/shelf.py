"""A folder of runs: which there are, what came of each, and how their settings differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dni_async.config.metric_names import traits_of_metric
from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.dashboard.curves import chosen_metric, metrics_of
from dni_async.launcher.report.reading import read_report
from dni_async.launcher.report.rows import is_busy

__all__ = ["Shelf", "differences", "row_of_report"]

MAX_RUNS = 500  # the newest


class Shelf:
    """The runs in folder, or the one that folder is; reports are read anew when they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, tuple[int, dict[str, Any]]] = {}

    def names(self) -> list[str]:
        """Of those runs that have a report, the newest first."""
        return list(self._paths())

    def path(self, name: str) -> Path | None:
        """The folder of the run of that name; None where there is none in the shelf."""
        return self._paths().get(name)

    def report(self, name: str) -> dict[str, Any] | None:
        """Its report; None where there is none that can be read."""
        path = self.path(name)
        return None if path is None else self._report_in(path)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run; of one whose report cannot be read, its name alone."""
        return [row_of_report(name, self._report_in(path)) for name, path in self._paths().items()]

    def _paths(self) -> dict[str, Path]:
        """The folders of the runs that have a report, by name, the newest first."""
        if (self._folder / names.CONFIG).is_file():
            return {self._folder.resolve().name: self._folder}
        found = []
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            with suppress(OSError):  # no run, or none that has ended
                found.append(((path / names.REPORT).stat().st_mtime_ns, path))
        return {path.name: path for _, path in sorted(found, reverse=True)[:MAX_RUNS]}

    def _report_in(self, path: Path) -> dict[str, Any] | None:
        try:
            changed = (path / names.REPORT).stat().st_mtime_ns
            kept = self._read.get(path)
            if kept is None or kept[0] != changed:
                kept = self._read[path] = (changed, read_report(path))
        except (ConfigError, OSError):
            return None
        return kept[1]


def row_of_report(name: str, report: Mapping[str, Any] | None) -> dict[str, Any]:
    """A run in the table of runs."""
    row: dict[str, Any] = {"name": name, "status": "no report that can be read"}
    if report is None:
        return row
    config, speed = report["config"], report["speedup"] or {}
    row |= {
        "status": report["status"],
        "data": report["data"]["name"],
        "rule": config.get("rule", ""),
        "is_busy": is_busy(report["environment"]),
        "vs_one_thread": speed.get("vs_one_thread"),
        "vs_all_threads": speed.get("vs_all_threads"),
    }
    ours = next((run for run in report["runs"] if run["kind"] == "decoupled"), None)
    if ours is None:
        return row
    metric = chosen_metric([ours])
    return row | {
        "workers": ours["num_workers"],
        "epochs": ours["epochs"][-1]["epoch"] if ours["epochs"] else 0,
        "train_seconds": ours["train_seconds"],
        "samples_per_second": ours["samples_per_second"],
        "metric": metric,
        "is_share": traits_of_metric(metric).is_share,
        "value": metrics_of(ours["epochs"][-1]).get(metric) if ours["epochs"] else None,
        "restarts": len(ours.get("restarts", [])),
    }


def differences(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings that are not the same in all of them: name, and the values as text."""
    known = dict.fromkeys(name for each in settings for name in each)
    found = []
    for name in known:
        values = [_text(each[name]) if name in each else "not there" for each in settings]
        if len(set(values)) > 1:
            found.append({"name": name, "values": values})
    return found


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "unset" if value is None else str(value)
