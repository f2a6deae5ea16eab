"""A run as one row among others: what it was, how fast it went, what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dni_async.config.metric_names import traits_of_metric
from dni_async.decisions.goal import Goal, Outlook
from dni_async.launcher.report.rows import chosen_metric, is_busy, metrics_of

__all__ = ["UNREAD", "Row", "ours_of", "row_of_report", "seconds_to"]

UNREAD = "no report that can be read"
Row = dict[str, Any]


def ours_of(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The decoupled run of a report; None of one that failed before there was any."""
    return next((run for run in report["runs"] if run["kind"] == "decoupled"), None)


def row_of_report(name: str, report: Mapping[str, Any] | None) -> Row:
    """A run in the table of runs."""
    if report is None:
        return {"name": name, "status": UNREAD}
    speed = report["speedup"] or {}
    row = {
        "name": name,
        "status": report["status"],
        "data": report["data"]["name"],
        "rule": str(report["config"].get("rule", "")),
        "is_busy": is_busy(report["environment"]),
        "vs_one_thread": speed.get("vs_one_thread"),
        "vs_all_threads": speed.get("vs_all_threads"),
    }
    ours = ours_of(report)
    return row if ours is None else row | _came_to(ours)


def _came_to(ours: Mapping[str, Any]) -> Row:
    goal = _goal(ours)
    outlook = Outlook(goal)
    for epoch, _, figure in _tests(ours):
        outlook.hear(epoch, figure)
    return {
        "workers": ours["num_workers"],
        "epochs": ours["epochs"][-1]["epoch"] if ours["epochs"] else 0,
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


def seconds_to(ours: Mapping[str, Any], level: float) -> float | None:
    """Training seconds up to the end of the first epoch whose chosen metric is as good as level.

    None where no epoch is.
    """
    goal = _goal(ours)
    for _, seconds, figure in _tests(ours):
        if figure is not None and (figure == level or goal.is_better(figure, level)):
            return seconds
    return None


def _goal(ours: Mapping[str, Any]) -> Goal:
    metric, mode = chosen_metric([ours]), ours.get("mode")
    return Goal(metric, mode if mode in ("max", "min") else traits_of_metric(metric).mode)


def _tests(ours: Mapping[str, Any]) -> Iterator[tuple[int, float, float | None]]:
    """Of each epoch its number, the training seconds to its end, and its chosen metric.

    Where test samples were lost with a worker, a handful may be right by chance: no figure.
    """
    metric, seconds = chosen_metric([ours]), 0.0
    whole = max((epoch.get("num_tested") or 0 for epoch in ours["epochs"]), default=0)
    for epoch in ours["epochs"]:
        seconds += epoch["seconds"]
        is_whole = epoch.get("num_tested") in (None, whole)
        yield epoch["epoch"], seconds, metrics_of(epoch).get(metric) if is_whole else None
