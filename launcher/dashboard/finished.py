"""The pages of a run that is over, from what its folder holds: as those of one that goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dni_async.config.metric_names import traits_of_metric
from dni_async.files import names
from dni_async.files.reading import open_regular
from dni_async.launcher.dashboard.curves import learning_of
from dni_async.launcher.dashboard.line import written_line
from dni_async.launcher.dashboard.pace import ROW
from dni_async.launcher.report.comparison import comparison_of, lines
from dni_async.launcher.report.diagnosis import diagnose
from dni_async.launcher.report.rows import (
    best_lines,
    chosen_metric,
    metrics_of,
    move_lines,
    num_epochs,
    ours_of,
)
from dni_async.wire.foreign_text import parsed

__all__ = ["told_by_metrics", "written_learning", "written_now"]

MAX_METRICS_BYTES = 32 * 2**20  # of a file of metrics; of a longer one its end
Report = Mapping[str, Any]


def written_now(report: Report) -> dict[str, Any]:
    """The first page of a report: its head, the boxes and links of its line, its restarts."""
    ours = ours_of(report)
    boxes, links = ([], []) if ours is None else written_line(ours)
    return {
        "version": 0,
        **_header(report, ours),
        "stages": boxes,
        "links": links,
        "restarts": [] if ours is None else ours.get("restarts", []),
        "epochs_told": sum(len(run["epochs"]) for run in report["runs"]),
    }


def written_learning(report: Report) -> dict[str, Any]:
    """The curves of a report."""
    return learning_of(report["runs"])


def _header(report: Report, ours: Mapping[str, Any] | None) -> dict[str, Any]:
    config, machine = report["config"], report["environment"]
    head = {
        "status": report["status"],
        "phase": report["status"],
        "data": report["data"]["name"],
        "rule": config.get("rule", ""),
        "cores": machine["cores"],
        "epochs": config.get("epochs"),
        "says": [*lines(comparison_of(report)), *best_lines(report["runs"]), *_findings(report)],
    }
    for run in report["runs"]:
        head["says"] += move_lines(run)[-1:]
    if ours is None:
        return head
    metric = chosen_metric([ours])
    last = ours["epochs"][-1] if ours["epochs"] else {}
    return head | {
        "epoch": num_epochs(ours),
        "share": None,
        "left_s": None,
        "train_seconds": ours["train_seconds"],
        "samples_per_second": ours["samples_per_second"],
        "metric": metric,
        "is_share": traits_of_metric(metric).is_share,
        "value": metrics_of(last).get(metric),
        "train_loss": last.get("train_loss"),
        "num_restarts": len(ours.get("restarts", [])),
    }


def _findings(report: Report) -> list[str]:
    diagnosis = diagnose(report)
    return [] if diagnosis is None else [*diagnosis.findings, *diagnosis.advice]


def told_by_metrics(folder: Path) -> dict[int, list[list[Any]]]:
    """The history of each stage, a row for each epoch; see pace.ROW. Empty where none was kept."""
    rows: dict[int, list[list[Any]]] = {}
    before: dict[int, Mapping[str, Any]] = {}
    seconds = 0.0
    for line in _lines(folder / names.METRICS):
        try:
            if "worker" in line:
                told = line["worker"]
                stage = int(told["stage"])
                rows.setdefault(stage, []).append(_row(seconds, before.get(stage, {}), told))
                before[stage] = told
            elif "seconds" in line and not line["run"].startswith("baseline"):
                seconds += line["seconds"]
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            continue  # not ours
    return rows


def _row(seconds: float, before: Mapping[str, Any], told: Mapping[str, Any]) -> list[Any]:
    """A row of ROW from what a worker told at the end of an epoch, and of the one before."""
    spent = {key: told[f"{key}_s"] - before.get(f"{key}_s", 0.0) for key in ROW[1:4]}
    total = sum(spent.values())
    shares = [round(max(0.0, value) / total, 4) if total > 0 else None for value in spent.values()]
    occupancy, credit_s = told.get("occupancy", -1.0), told.get("link_credit_s", -1.0)
    return [
        round(seconds, 3),
        *shares,
        None if occupancy < 0 else occupancy,
        None if (staleness := told.get("staleness_median")) is None else int(staleness),
        round(told["rss_bytes"] / 2**20, 1),
        None if credit_s < 0 else round(credit_s * 1000, 4),
        None,  # at the end of an epoch, whose loss stands in its own line
    ]


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The whole lines of a file of metrics, as far as they are what we write."""
    try:
        with open_regular(path) as file:
            file.seek(max(0, path.stat().st_size - MAX_METRICS_BYTES))
            for text in file:
                try:
                    line = parsed(text)
                except (ValueError, RecursionError):
                    continue  # cut off, or not ours
                if isinstance(line, dict):
                    yield line
    except OSError:
        return
