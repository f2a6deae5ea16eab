"""A folder of runs: which there are, the newest first, and their reports."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.report.reading import read_report
from dni_async.launcher.report.shelf.rows import row_of_report

__all__ = ["Shelf"]

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
