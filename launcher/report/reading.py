"""Reads a report that was written by anybody: what is not as it must be is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dni_async.config.meant import did_you_mean_file
from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.report.building import SCHEMA
from dni_async.launcher.report.comparison import SPEEDUPS, compare
from dni_async.launcher.report.shape import fault_in

__all__ = ["read_report"]


def read_report(path: Path) -> dict[str, Any]:
    """A report from a run directory or a file. Raises ConfigError with what is wrong."""
    file = path / names.REPORT if path.is_dir() else path
    if not file.exists() and (file.parent / names.CONFIG).is_file():
        raise ConfigError(
            f"{file.parent}: this run has no report yet; {names.REPORT} is written when it ends"
        )
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        hint = did_you_mean_file(path)
        raise ConfigError(f"{file}: cannot be read: {error.strerror}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: is not JSON: {error}") from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise ConfigError(f"{file}: is no report of schema {SCHEMA}")
    _renew(report)
    if fault := fault_in(report):
        raise ConfigError(f"{file}: is no whole report: {fault}")
    if "comparison" not in report:
        _compare(report)
    return report


def _compare(report: dict[str, Any]) -> None:
    """Have an older report compare as one of today does, as far as what it holds tells."""
    report["comparison"] = compare(report["runs"], report["environment"])
    baselines, speedup = report["comparison"]["baselines"], report["speedup"]
    for name, keys in SPEEDUPS.items():
        if speedup and name in baselines and baselines[name]["ratio"] is None:
            speedup |= dict.fromkeys(keys)


def _renew(report: dict[str, Any]) -> None:
    """Have an older report speak of metrics, where it knew of accuracy alone."""
    config, runs = report.get("config"), report.get("runs")
    if isinstance(config, dict) and "target_accuracy" in config:
        config["target"] = config.pop("target_accuracy")
    for run in runs if isinstance(runs, list) else ():
        if not isinstance(run, dict):
            continue
        epochs = run.get("epochs")
        run.setdefault("metric", "accuracy")
        for row in (run, *(epochs if isinstance(epochs, list) else ())):
            if isinstance(row, dict) and "test_accuracy" in row:
                accuracy = row.pop("test_accuracy")
                for loss in ("train_loss", "test_loss"):  # which was -1 of nothing
                    row[loss] = None if row.get(loss) == -1 else row.get(loss)
                row["test_metrics"] = {} if accuracy is None else {"accuracy": accuracy}
