"""Writes down what a stage hears and decides, so that it can be replayed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dni_async.decisions.actions import Action, Event
from dni_async.decisions.event_log import Header, entry
from dni_async.decisions.machines.machine import StageMachine
from dni_async.errors import LinkError
from dni_async.files import names
from dni_async.seeding import stage_seed
from dni_async.system import output
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat

__all__ = ["EventRecorder", "events_path", "make_recorder"]

MAX_EVENTS = 200_000  # some 40 MB


def events_path(seat: Seat) -> Path:
    """The file of this worker; each incarnation has one of its own."""
    return Path(seat.welcome.events_folder) / names.events(seat.stage, seat.incarnation)


class EventRecorder:
    """A machine, and every event that it handles in a file; the first MAX_EVENTS of them."""

    def __init__(self, machine: StageMachine, path: Path, header: Header) -> None:
        self._machine = machine
        self._began = time.perf_counter()
        self._left = MAX_EVENTS
        self._file = path.open("w", encoding="utf-8")
        self._write(header.to_dict())

    def handle(self, event: Event) -> list[Action]:
        """As the machine does."""
        began = time.perf_counter()
        try:
            actions = self._machine.handle(event)
        except LinkError as error:
            self._note(began, event, error)
            self.flush()
            raise
        self._note(began, event, actions)
        return actions

    def flush(self) -> None:
        """Hand what is written to the system, where it outlives this process."""
        if not self._file.closed:
            self._try(self._file.flush)

    def _note(self, began: float, event: Event, outcome: list[Action] | LinkError) -> None:
        if self._left == 0:
            return
        self._left -= 1
        self._write(entry(began - self._began, event, outcome))
        if self._left == 0 and not self._file.closed:
            output.complain(f"the first {MAX_EVENTS:,} events are recorded, no more")

    def _write(self, line: object) -> None:
        text = json.dumps(line, separators=(",", ":")) + "\n"
        self._try(lambda: self._file.write(text))

    def _try(self, write: Callable[[], object]) -> None:
        """What a full disk does not take ends the recording, and nothing else."""
        try:
            write()
        except OSError as error:
            self._left = 0
            with suppress(OSError):
                self._file.close()
            output.complain(f"no more events are recorded: {error.strerror or error}")


def make_recorder(seat: Seat, equipment: Equipment, start: tuple[int, int]) -> EventRecorder | None:
    """What writes the machine's events down, where that was asked for."""
    welcome = seat.welcome
    if not welcome.events_folder:
        return None
    inputs = equipment.inputs
    header = Header(
        stage=seat.stage,
        num_stages=welcome.num_stages,
        seed=stage_seed(seat.config.seed, seat.stage),
        num_batches=None if inputs is None else list(inputs.num_batches),
        config=seat.config.to_dict(),
        start=list(start),
        next_batch_id=seat.next_batch_id,
        is_replacement=seat.is_replacement,
    )
    return EventRecorder(equipment.machine, events_path(seat), header)
