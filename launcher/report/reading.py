"""Reads a report that was written by anybody: what is not as it must be is one sentence."""

from __future__ import annotations

from pathlib import Path
from stat import S_ISFIFO, S_ISREG
from typing import Any, Final

from dni_async.config.meant import did_you_mean_file
from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.report.building import SCHEMA
from dni_async.launcher.report.comparison import SPEEDUPS, compare
from dni_async.launcher.report.shape import fault_in
from dni_async.wire.foreign_text import parsed

__all__ = ["read_report"]

MAX_BYTES: Final = 128 * 2**20  # some 50,000 epochs of eight stages


def read_report(path: Path) -> dict[str, Any]:
    """A report from a run directory or a file. Raises ConfigError with what is wrong."""
    file = path / names.REPORT if path.is_dir() else path
    if not file.exists() and (file.parent / names.CONFIG).is_file():
        raise ConfigError(
            f"{file.parent}: this run has no report yet; {names.REPORT} is written when it ends"
        )
    try:
        report = parsed(_text_of(file))
    except OSError as error:
        hint = did_you_mean_file(path)
        raise ConfigError(f"{file}: cannot be read: {error.strerror}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: is not JSON: {error}") from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise ConfigError(f"{file}: is no report of schema {SCHEMA}{_newer(report)}")
    _renew(report)
    if fault := fault_in(report):
        raise ConfigError(f"{file}: is no whole report: {fault}")
    if "comparison" not in report:
        _compare(report)
    return report


def _text_of(file: Path) -> str:
    """What it holds. Raises OSError, and ConfigError for what is no report by its kind or size."""
    found = file.stat()
    if not S_ISREG(found.st_mode):
        kind = "a pipe" if S_ISFIFO(found.st_mode) else "a device, a socket or a folder"
        raise ConfigError(f"{file}: is {kind}, and no report")
    if found.st_size > MAX_BYTES:
        raise ConfigError(
            f"{file}: is no report: it has {found.st_size:,} bytes, and at most {MAX_BYTES:,} are "
            "read"
        )
    return file.read_text(encoding="utf-8")


def _newer(report: Any) -> str:
    """What to do about a report of a later version than this one."""
    schema = report.get("schema") if isinstance(report, dict) else None
    is_newer = type(schema) is int and schema > SCHEMA
    return f", but of {schema}: a newer dni-async wrote it, which shows it" if is_newer else ""


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
