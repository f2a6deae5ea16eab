"""All runs in a folder, those too that have no report, and what else lies there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dni_async.config.run_config import read_toml
from dni_async.config.settings import SETTINGS
from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.report.reading import read_report
from dni_async.launcher.report.shelf.rows import Row, row_of_report

__all__ = ["Listing", "is_run", "list_runs"]

NO_REPORT = "no report"  # of a run that goes on, or whose launcher was killed


@dataclass(frozen=True, slots=True)
class Listing:
    """rows: of the runs, the newest first. passed_over: of all else a sentence each, with why."""

    rows: list[Row]
    passed_over: list[str]


def is_run(path: Path) -> bool:
    """Whether path is a report, or a folder in which a run is kept.

    Raises ConfigError where it cannot be looked into.
    """
    inside = (path / name for name in (names.REPORT, names.CONFIG))
    try:
        return path.is_file() or any(each.is_file() for each in inside)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def list_runs(folder: Path) -> Listing:
    """The runs in folder. Raises ConfigError where it cannot be looked into."""
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read: {error.strerror}") from error
    rows: list[Row] = []
    passed_over: list[str] = []
    for path in found:
        if path.name.startswith("."):
            continue
        try:
            rows.append(_row_of(path))
        except ConfigError as error:
            passed_over.append(str(error))
    return Listing(sorted(rows, key=lambda row: row["when"], reverse=True), passed_over)


def _row_of(path: Path) -> Row:
    """A run's row. when: the end of the run, or of what is known of it, in local time.

    Raises ConfigError for what is no run, or broken.
    """
    if not is_run(path):
        raise ConfigError(f"{path}: holds no run")
    if (path / names.REPORT).exists():
        row, told = row_of_report(path.name, read_report(path)), path / names.REPORT
    else:
        metrics = path / names.METRICS
        row, told = _begun(path), metrics if metrics.is_file() else path / names.CONFIG
    ended = datetime.fromtimestamp(told.stat().st_mtime).astimezone()
    return row | {"when": ended.isoformat(timespec="seconds"), "is_resumable": _is_resumable(path)}


def _begun(path: Path) -> Row:
    """Of a run that has no report: what it was to be."""
    config = read_toml(path / names.CONFIG)
    asked = {name: config.get(name, SETTINGS[name].default) for name in ("data", "rule")}
    return {"name": path.name, "status": NO_REPORT, **asked}


def _is_resumable(path: Path) -> bool:
    """Whether dni-launch --resume may find a whole checkpoint there."""
    return any((path / names.CHECKPOINTS).glob(f"*/{names.MANIFEST}"))
