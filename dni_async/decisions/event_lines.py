"""Events and what they led to as lines of JSON, and a machine fed with such lines again.

An event or an action is a list that begins with its class's name; a line is ``[seconds, event,
outcome]``. An outcome is a list of actions, or the text of the error that the event raised.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from dni_async.errors import ConfigError

__all__ = ["Divergence", "compare", "kinds_of", "line_of", "plain", "read_header"]


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first event, counted from 1, whose outcome was another when it was replayed."""

    number: int
    event: Any
    recorded: Any
    replayed: Any

    def __str__(self) -> str:
        """One sentence."""
        return (
            f"event {self.number} {json.dumps(self.event)} led to {json.dumps(self.recorded)}, "
            f"and now to {json.dumps(self.replayed)}"
        )


def plain(value: Any) -> Any:
    """A dataclass as a list, with what is in it."""
    if is_dataclass(value):
        parts = (getattr(value, each.name) for each in fields(value))
        return [type(value).__name__, *map(plain, parts)]
    return list(map(plain, value)) if isinstance(value, tuple | list) else value


def line_of(seconds: float, event: Any, outcome: Any) -> list[Any]:
    """What is written of an event. seconds: since the recording's start; outcome: plain."""
    return [round(seconds, 6), plain(event), outcome]


def kinds_of(*roots: Any) -> dict[str, type]:
    """By name: the dataclasses among the roots, types or unions, and those of their fields."""
    found: dict[str, type] = {}
    left = list(roots)
    while left:
        kind = left.pop()
        left += get_args(kind)
        if isinstance(kind, type) and is_dataclass(kind) and kind.__name__ not in found:
            found[kind.__name__] = kind
            left += get_type_hints(kind).values()
    return found


def read_header(lines: Iterable[str], expected: int) -> Mapping[str, Any]:
    """The first line's values, of that format. Raises ConfigError."""
    try:
        values = json.loads(next(iter(lines), ""))
        if values.get("format") != expected:
            raise ConfigError(
                f"recording: its format is {values.get('format')!r}, this version reads {expected}"
            )
        assert isinstance(values, dict)
        return values
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"recording: line 1 is no header: {error}") from None


def compare(
    lines: Iterable[str], handle: Callable[[Any], Any], kinds: Mapping[str, type], events: Any
) -> tuple[int, Divergence | None]:
    """Have handle answer the events of the lines behind a header anew, as plain values: how many
    there were, and the first of other consequence. Behind an error there is nothing. A last line
    without an end, as a killed process leaves it, is passed over.

    kinds: what may be in an event; events: the union of those. Raises ConfigError with the number
    of a line that is none.
    """
    count = 0
    for number, line in enumerate(lines, start=2):
        if not line.endswith("\n"):
            break
        event, recorded = _read(number, line, kinds, events)
        count += 1
        replayed = handle(event)
        if json.dumps(replayed) != json.dumps(recorded):
            return count, Divergence(count, plain(event), recorded, replayed)
        if isinstance(replayed, str):
            break
    return count, None


def _read(number: int, line: str, kinds: Mapping[str, type], events: Any) -> tuple[Any, Any]:
    try:
        _, written, outcome = json.loads(line)
        event = _revive(written, kinds)
        if not isinstance(event, get_args(events)):
            raise TypeError(f"{type(event).__name__} is none")
        return event, outcome
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(f"recording: line {number} is no event: {error!r}") from None


def _revive(value: Any, kinds: Mapping[str, type]) -> Any:
    """What plain made value of; a list without a name before it was a tuple."""
    if not value or isinstance(value[0], list):
        return tuple(_revive(part, kinds) for part in value)
    name, *parts = value
    return kinds[name](
        *(_revive(part, kinds) if isinstance(part, list) else part for part in parts)
    )
