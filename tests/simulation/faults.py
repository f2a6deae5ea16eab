"""Faults that the program had, to be put back: the simulation must find each."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

from dni_async.decisions.actions import Item, LinkRemade, Mark, RaiseMarker
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.schedule import plan_work
from dni_async.decisions.words import KeptWords
from dni_async.launcher.decisions import deaths, succession
from dni_async.launcher.decisions.state import BACK_OFF_S, MAX_BACK_OFF_S, Vacancies
from dni_async.launcher.run_folder.checkpoints import OpenCheckpoints

__all__ = ["FAULTS", "put_back"]

Patches = Callable[[], list[AbstractContextManager[Any]]]


def _two_ends() -> list[AbstractContextManager[Any]]:
    """A source that is told to end, and one that comes to it, raise different markers."""

    def plan(epochs: int, *args: Any, **settings: Any) -> Iterator[Item]:
        for item in plan_work(epochs, *args, **settings):
            is_end = isinstance(item, Mark) and item.kind == "stop"
            yield dataclasses.replace(item, epoch=epochs) if is_end else item

    return [mock.patch("dni_async.config.assembly.plan_work", plan)]


def _unverified() -> list[AbstractContextManager[Any]]:
    """A checkpoint is sealed whatever was read back of its parts."""
    return [mock.patch("dni_async.launcher.run_folder.checkpoints.fault_in", lambda *_: None)]


def _not_told_again() -> list[AbstractContextManager[Any]]:
    """What a worker said in the instant of its death is said by nobody else."""
    return [
        mock.patch.object(KeptWords, "hand_over", lambda *_: []),
        mock.patch.object(KeptWords, "again", lambda *_: []),
        mock.patch("dni_async.launcher.decisions.progress.ask_again", lambda *_: []),
    ]


def _always_back_off() -> list[AbstractContextManager[Any]]:
    """Each death of a stage waits twice as long for its replacement as the one before."""

    def delay_s(self: Vacancies, stage: int, *, has_failed: bool) -> float:
        before = self._delays.get(stage)
        self._delays[stage] = 0.0 if before is None else min(max(2 * before, BACK_OFF_S), MAX_BACK_OFF_S)
        return self._delays[stage]

    return [mock.patch.object(Vacancies, "_delay_s", delay_s)]


def _pruned() -> list[AbstractContextManager[Any]]:
    """A checkpoint may go that a worker was told to start from."""
    return [mock.patch.object(OpenCheckpoints, "lend", lambda *_: None)]


def _bye_beside_a_death() -> list[AbstractContextManager[Any]]:
    """An end that nobody has seen is a death, though Bye may be on its way."""

    def hear_exit(state: Any, event: Any) -> Any:
        if event.code < 0 and not event.signal:
            event = dataclasses.replace(event, signal="nobody knows what")
        return real(state, event)

    real = deaths.hear_exit
    return [mock.patch.object(deaths, "hear_exit", hear_exit)]


def _unsynced() -> list[AbstractContextManager[Any]]:
    """Shards are renamed before they are on disk."""
    forgetful = SimpleNamespace(**{**vars(os), "fsync": lambda _: None})
    return [mock.patch("dni_async.files.writing.os", forgetful)]


def _marker_lost() -> list[AbstractContextManager[Any]]:
    """A marker that was on its way to a stage that died is not raised again."""

    def handle(self: StageMachine, event: Any) -> Any:
        actions = real(self, event)
        if event == LinkRemade("above"):
            return [action for action in actions if not isinstance(action, RaiseMarker)]
        return actions

    real = StageMachine.handle
    return [mock.patch.object(StageMachine, "handle", handle)]


def _neighbours_of_the_dead() -> list[AbstractContextManager[Any]]:
    """A replacement that waits for a neighbour which has died meanwhile is left to wait."""
    return [mock.patch.object(succession, "_beside", lambda *_: [])]


FAULTS: Final[Mapping[str, Patches]] = {
    "two names for the end": _two_ends,
    "sealed unverified": _unverified,
    "words are not told again": _not_told_again,
    "every death backs off": _always_back_off,
    "pruned while a worker starts from it": _pruned,
    "Bye beside a death": _bye_beside_a_death,
    "not synced": _unsynced,
    "a marker is lost with a death": _marker_lost,
    "who waits for the dead": _neighbours_of_the_dead,
}
"""What each makes of the program: its first sentence says it."""


@contextmanager
def put_back(name: str) -> Iterator[None]:
    """Within the block the program has that fault."""
    with ExitStack() as stack:
        for patch in FAULTS[name]():
            stack.enter_context(patch)
        yield
