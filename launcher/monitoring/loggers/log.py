"""What a logger is told of a run: one small interface, and the values that go through it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from dni_async.files.reading import read_bounded
from dni_async.files.writing import write_whole
from dni_async.wire.foreign_text import parsed

__all__ = ["Ending", "Facts", "Log", "Row", "keep", "kept_in"]

Ending = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Facts:
    """Of a whole launch. folder: the run directory. settings: all, as plain values, no password.

    changed: those that are no defaults. about: data and versions.
    """

    folder: Path
    settings: Mapping[str, Any]
    changed: str
    about: Mapping[str, str]

    @property
    def name(self) -> str:
        """What its runs are found by."""
        return self.folder.absolute().name


@dataclass(frozen=True, slots=True)
class Row:
    """Values by their tags, of the run of that name, at an update, after seconds of training."""

    run: str
    updates: int
    seconds: float
    values: Mapping[str, float]


def kept_in(path: Path) -> dict[str, Any]:
    """What a file of a run directory says of a logger; nothing where it is not there."""
    try:
        told = parsed(read_bounded(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def keep(path: Path, **values: object) -> None:
    """Have it say this too. Raises OSError."""
    write_whole(path, json.dumps({**kept_in(path), **values}).encode())


class Log(Protocol):
    """A logger, from one thread. What it raises ends the logging, and nothing else."""

    def open(self, facts: Facts) -> None:
        """Reach the place that is logged to."""

    def begin(self, run: str, kind: str, rule: str) -> None:
        """A network is trained by rule from now on; kind: decoupled or baseline."""

    def add(self, rows: Sequence[Row]) -> None:
        """Values, in the order in which they were told."""

    def mark(self, run: str, name: str, text: str) -> None:
        """Something has happened, which text tells."""

    def finish(self, run: str, ending: Ending, report: Mapping[str, Any]) -> None:
        """No more is told of the run. report: what report.json holds of the launch, if it is
        over, else empty.
        """
