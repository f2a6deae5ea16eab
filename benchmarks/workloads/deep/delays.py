"""Chosen delays: a line in one process whose gradients come back so many batches late.

A stage that takes up a batch is at most its delay ahead of the head: with a delay of 0 it takes up
the next one when the gradient of this one is back, if there is one. So a gradient that a stage
waits for (``fdg``) is as many updates old as the delay says, and an anchor's comes as many batches
late. It is the order of turns alone that does this; whatever else happens is the workers' own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, cast

from dni_async.decisions.actions import Action, Event, Forward, Turn
from dni_async.decisions.machines.machine import StageMachine
from dni_async.errors import ConfigError, LinkError
from dni_async.wire.messages import Message
from dni_async.workers.in_memory import Equipment, InMemoryLine

__all__ = ["DelayedLine", "Gate", "delays_of"]


class Gate:
    """A stage's machine that has a turn only while the gate is open.

    taken: how many training batches it has taken up.
    """

    def __init__(self, machine: StageMachine) -> None:
        self._machine = machine
        self.is_open = False
        self.taken = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    @property
    def has_turn(self) -> bool:
        """Whether a Turn would lead to any action, and may be given."""
        return self.is_open and self._machine.has_turn

    def handle(self, event: Event) -> list[Action]:
        """As the machine does."""
        actions = self._machine.handle(event)
        if isinstance(event, Turn):
            self.taken += any(isinstance(action, Forward) for action in actions)
        return actions


class DelayedLine:
    """Gives the turns of a line.

    delays: see delays_of; a stage is never further ahead than the one below it. adapt: goes to
    build_line. after_batch: called when the head has taken a batch up.
    """

    def __init__(self, delays: str) -> None:
        self._said = delays
        self._delays: list[int] = []
        self.after_batch: Callable[[], None] | None = None
        self._gates: list[Gate] = []

    def adapt(self, _stage: int, equipment: Equipment) -> Equipment:
        """The stage's equipment with a gate before its machine; in the order of stages."""
        gate = Gate(equipment.machine)
        self._gates.append(gate)
        return dataclasses.replace(equipment, machine=cast("StageMachine", gate))

    def turns(self, line: InMemoryLine) -> Iterator[tuple[int, Message]]:
        """Give turns until all have finished; gives what is told, and by which stage.

        Raises ConfigError for other delays than there are boundaries, LinkError when the line
        stands still.
        """
        self._delays = delays_of(self._said, self._head)
        while not line.is_finished:
            num_told = len(line.told)
            goes_on = [self._come_down(line), self._go_up(line), self._turn(line, self._head)]
            if not any(goes_on) and len(line.told) == num_told:  # who leaves says goodbye
                raise LinkError("the line stands still")
            yield from line.told[num_told:]

    @property
    def _head(self) -> int:
        return len(self._gates) - 1

    def _come_down(self, line: InMemoryLine) -> bool:
        """All that has come back goes down as far as it can; whether anything did."""
        outcomes = set()
        for stage in reversed(range(len(self._gates))):
            while (outcome := line.step(stage)) == "worked":
                outcomes.add(outcome)
        return bool(outcomes)

    def _go_up(self, line: InMemoryLine) -> bool:
        """Every stage below the head takes up what its delay lets it; whether any did."""
        has_worked = False
        for stage in range(self._head):
            limit = self._gates[self._head].taken + self._delays[stage] + 1
            while self._gates[stage].taken < limit and self._turn(line, stage):
                has_worked = True
        return has_worked

    def _turn(self, line: InMemoryLine, stage: int) -> bool:
        """Give a stage a turn; whether it did anything."""
        gate = self._gates[stage]
        before = gate.taken
        gate.is_open = True
        has_worked = line.step(stage) == "worked"
        gate.is_open = False
        if stage == self._head and gate.taken > before and self.after_batch is not None:
            self.after_batch()
        return has_worked


def delays_of(text: str, num_boundaries: int) -> list[int]:
    """``4`` at every boundary, or ``3,2,1``, as a list. Raises ConfigError."""
    try:
        delays = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"delays: {text!r} is no list of numbers like 3,2,1") from None
    if min(delays) < 0:
        raise ConfigError(f"delays: {text!r}: none may be below 0")
    if len(delays) == 1:
        return delays * num_boundaries
    if len(delays) != num_boundaries:
        raise ConfigError(f"delays: {text!r} names {len(delays)}, of {num_boundaries} boundaries")
    return delays
