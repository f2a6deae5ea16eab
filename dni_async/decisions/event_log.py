"""What a stage heard and decided, as plain values; replayed, it must decide the same again.

A recording is a header (Header.to_dict) and one line for each event (event_lines). An outcome is a
list of actions, or the text of the LinkError that the event raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from dni_async.decisions.actions import Action, Batch, Cut, Event, Mark, Pause
from dni_async.decisions.event_lines import (
    Divergence,
    compare,
    kinds_of,
    line_of,
    plain,
    read_header,
)
from dni_async.decisions.machines.machine import StageMachine
from dni_async.errors import ConfigError, LinkError

__all__ = ["Header", "entry", "replay"]

FORMAT = 2
_HEARD = kinds_of(Event, Batch, Mark, Cut, Pause)


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
    is_replacement: bool = False
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def entry(seconds: float, event: Event, outcome: list[Action] | LinkError) -> list[Any]:
    """One line of a recording. seconds: since its start."""
    return line_of(seconds, event, _plain_outcome(outcome))


def replay(
    lines: Iterable[str], make_machine: Callable[[Header], StageMachine]
) -> tuple[int, Divergence | None]:
    """Feed a recording's events (its lines of JSON) to a new machine: how many there were, and the
    first of other consequence. make_machine: config.assembly.make_recorded_machine.

    Raises ConfigError for lines that are no recording, with the number of the line.
    """
    rest = iter(lines)
    try:
        header = Header(**read_header(rest, FORMAT))
    except TypeError as error:
        raise ConfigError(f"recording: line 1 is no header: {error}") from None
    machine = make_machine(header)

    def handle(event: Event) -> Any:
        try:
            return _plain_outcome(machine.handle(event))
        except LinkError as error:
            return _plain_outcome(error)

    return compare(rest, handle, _HEARD, Event)


def _plain_outcome(outcome: list[Action] | LinkError) -> Any:
    return str(outcome) if isinstance(outcome, LinkError) else plain(outcome)
