"""What the run's machine heard and decided, as plain values; replayed, it must decide the same.

A recording is a header (the terms of the run) and one line for each event (event_lines).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dni_async.decisions.event_lines import (
    Divergence,
    compare,
    kinds_of,
    line_of,
    plain,
    read_header,
)
from dni_async.errors import ConfigError
from dni_async.launcher.decisions.actions import RunAction
from dni_async.launcher.decisions.events import RunEvent
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.launcher.decisions.terms import RunTerms

__all__ = ["entry", "header", "replay"]

FORMAT = 1
_HEARD = kinds_of(RunEvent)


def header(terms: RunTerms) -> dict[str, Any]:
    """The first line."""
    return {**terms.to_dict(), "format": FORMAT}


def entry(seconds: float, event: RunEvent, actions: list[RunAction]) -> list[Any]:
    """One line of a recording. seconds: since its start."""
    return line_of(seconds, event, plain(actions))


def replay(lines: Iterable[str]) -> tuple[int, Divergence | None]:
    """Feed a recording's events to a new machine: how many there were, and the first of other
    consequence. Raises ConfigError for lines that are no recording, with the number of the line.
    """
    rest = iter(lines)
    values = dict(read_header(rest, FORMAT))
    del values["format"]
    try:
        machine = RunMachine(RunTerms(**values))
    except TypeError as error:
        raise ConfigError(f"recording: line 1 is no header: {error}") from None
    return compare(rest, lambda event: plain(machine.handle(event)), _HEARD, RunEvent)
