"""Writes down what the run's machine hears and decides, so that it can be replayed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dni_async.launcher.decisions import run_log
from dni_async.launcher.decisions.actions import RunAction
from dni_async.launcher.decisions.events import RunEvent
from dni_async.launcher.decisions.run_machine import RunMachine
from dni_async.launcher.decisions.terms import RunTerms
from dni_async.system import output

__all__ = ["RecordedRun", "recorded_run"]

MAX_EVENTS = 200_000  # some 40 MB, and five hours of ticks
MAX_BYTES = 128 * 2**20
FLUSH_S = 0.5


class RecordedRun:
    """A run's machine, and every event that it handles in a file; the first MAX_EVENTS of them.

    What was refused and led to nothing is left out.
    """

    def __init__(self, machine: RunMachine, terms: RunTerms, file: IO[str]) -> None:
        self._machine = machine
        self._file = file
        self._began = self._flushed_at = time.monotonic()
        self._left, self._left_bytes = MAX_EVENTS, MAX_BYTES
        self._write(run_log.header(terms))

    def handle(self, event: RunEvent) -> list[RunAction]:
        """As the machine does."""
        before = self._machine.num_unheard
        actions = self._machine.handle(event)
        is_idle = self._machine.num_unheard > before and not actions
        if self._left and self._left_bytes > 0 and not is_idle:
            self._left -= 1
            self._write(run_log.entry(event.at - self._began, event, actions))
        if event.at - self._flushed_at > FLUSH_S:
            self._flushed_at = event.at
            self._try(self._file.flush)
        return actions

    @property
    def awaits_workers(self) -> bool:
        """As the machine has it."""
        return self._machine.awaits_workers

    @property
    def num_unheard(self) -> int:
        """As the machine has it."""
        return self._machine.num_unheard

    @property
    def refusals(self) -> str:
        """As the machine has it."""
        return self._machine.refusals

    @property
    def is_trained(self) -> bool:
        """As the machine has it."""
        return self._machine.is_trained

    @property
    def awaited(self) -> tuple[bool, list[int]]:
        """As the machine has it."""
        return self._machine.awaited

    def _write(self, line: object) -> None:
        text = json.dumps(line, separators=(",", ":"))
        self._left_bytes -= len(text)
        self._try(lambda: self._file.write(f"{text}\n"))

    def _try(self, write: Callable[[], object]) -> None:
        """What a full disk does not take ends the recording, and nothing else."""
        if self._file.closed:
            return
        try:
            write()
        except OSError as error:
            self._left = 0
            _close(self._file)
            output.complain(f"no more events of the run are recorded: {error.strerror or error}")


@contextmanager
def recorded_run(terms: RunTerms, path: Path) -> Iterator[RunMachine | RecordedRun]:
    """The machine of the run, whose events are written to path where its folder was made."""
    machine = RunMachine(terms)
    if not path.parent.is_dir():
        yield machine
        return
    file = path.open("w", encoding="utf-8")
    try:
        yield RecordedRun(machine, terms, file)
    finally:
        _close(file)


def _close(file: IO[str]) -> None:
    """What the disk does not take is lost, and nothing else is."""
    with suppress(OSError):
        file.close()
