"""A run as one row among others: what it was, how fast it went, what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dni_async.config.metric_names import traits_of_metric
from dni_async.launcher.report.comparison import (
    ALL_THREADS,
    NOT_COMPARABLE,
    ONE_THREAD,
    comparison_of,
    disturbed,
    outlook_of,
)
from dni_async.launcher.report.rows import metrics_of, num_epochs, ours_of

__all__ = ["UNREAD", "Row", "row_of_report"]

UNREAD = "no report that can be read"
Row = dict[str, Any]


def row_of_report(name: str, report: Mapping[str, Any] | None) -> Row:
    """A run in the table of runs."""
    if report is None:
        return {"name": name, "status": UNREAD}
    baselines = comparison_of(report)["baselines"]
    ours = ours_of(report)
    row = {
        "name": name,
        "status": report["status"],
        "data": report["data"]["name"],
        "rule": str(report["config"].get("rule", "")),
        "is_busy": ours is not None and bool(disturbed(ours, report["environment"])),
        "vs_one_thread": _ratio(baselines.get(ONE_THREAD)),
        "vs_all_threads": _ratio(baselines.get(ALL_THREADS)),
    }
    return row if ours is None else row | _came_to(ours)


def _ratio(told: Mapping[str, Any] | None) -> float | str | None:
    """To a baseline; in words that there is none that may be told, None without the baseline."""
    if told is None:
        return None
    return NOT_COMPARABLE if told["ratio"] is None else float(told["ratio"])


def _came_to(ours: Mapping[str, Any]) -> Row:
    outlook = outlook_of(ours)
    goal = outlook.goal
    return {
        "workers": ours["num_workers"],
        "epochs": num_epochs(ours),
        "train_seconds": ours["train_seconds"],
        "samples_per_second": ours["samples_per_second"],
        "metric": goal.metric,
        "mode": goal.mode,
        "is_share": traits_of_metric(goal.metric).is_share,
        "value": metrics_of(ours["epochs"][-1]).get(goal.metric) if ours["epochs"] else None,
        "best": outlook.best,
        "best_epoch": outlook.best_epoch,
        "seconds_to_target": ours["seconds_to_target"],
        "restarts": len(ours.get("restarts", [])),
    }
