"""What a stage heard and decided, as plain values; replayed, it must decide the same again.

A recording is a header (Header.to_dict) and one line for each event, ``[seconds, event, outcome]``.
Events and actions are lists that begin with their class's name. An outcome is a list of actions,
or the text of the LinkError that the event raised.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, get_args

from dni_async.decisions.actions import Action, Batch, Cut, Event, Mark
from dni_async.decisions.machines.machine import StageMachine
from dni_async.errors import ConfigError, LinkError

__all__ = ["Divergence", "Header", "entry", "replay"]

FORMAT = 1
_HEARD = {kind.__name__: kind for kind in (*get_args(Event), Batch, Mark, Cut)}


@dataclass(frozen=True, slots=True)
class Header:
    """Which machine was recorded. seed, num_batches: as config.assembly asks for them."""

    stage: int
    num_stages: int
    seed: int
    num_batches: list[int] | None
    config: dict[str, Any]
    start: list[int] = field(default_factory=lambda: [1, 0])
    next_batch_id: int = 0
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


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


def entry(seconds: float, event: Event, outcome: list[Action] | LinkError) -> list[Any]:
    """One line of a recording. seconds: since its start."""
    return [round(seconds, 6), _plain(event), _outcome(outcome)]


def replay(
    lines: Iterable[str], make_machine: Callable[[Header], StageMachine]
) -> tuple[int, Divergence | None]:
    """Feed a recording's events (its lines of JSON) to a new machine: how many there were, and the
    first of other consequence. A last line without an end, as a killed worker leaves it, is
    passed over. make_machine: config.assembly.make_recorded_machine.

    Raises ConfigError for lines that are no recording, with the number of the line.
    """
    numbered = enumerate(lines, start=1)
    machine = make_machine(_header(next(numbered, (1, ""))[1]))
    count = 0
    for number, line in numbered:
        if not line.endswith("\n"):
            break
        event, recorded = _read(number, line)
        count += 1
        try:
            outcome: list[Action] | LinkError = machine.handle(event)
        except LinkError as error:
            outcome = error
        replayed = _outcome(outcome)
        if replayed != recorded:
            return count, Divergence(count, _plain(event), recorded, replayed)
        if isinstance(outcome, LinkError):
            break
    return count, None


def _outcome(outcome: list[Action] | LinkError) -> Any:
    return str(outcome) if isinstance(outcome, LinkError) else [_plain(a) for a in outcome]


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        parts = (getattr(value, each.name) for each in fields(value))
        return [type(value).__name__, *map(_plain, parts)]
    return list(value) if isinstance(value, tuple) else value


def _header(line: str) -> Header:
    try:
        values = json.loads(line)
        if values.get("format") != FORMAT:
            raise ConfigError(
                f"recording: its format is {values.get('format')!r}, this version reads {FORMAT}"
            )
        return Header(**values)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"recording: line 1 is no header: {error}") from None


def _read(number: int, line: str) -> tuple[Event, Any]:
    try:
        _, plain, outcome = json.loads(line)
        event = _revive(plain)
        if not isinstance(event, get_args(Event)):
            raise TypeError(f"{type(event).__name__} is none")
        return event, outcome
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(f"recording: line {number} is no event: {error!r}") from None


def _revive(value: Any) -> Any:
    """The event that _plain made value of."""
    name, *parts = value
    kind = _HEARD[name]
    return kind(*(_revive(part) if isinstance(part, list) else part for part in parts))
