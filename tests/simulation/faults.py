"""Faults that the program had, to be put back: the simulation must find each."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

from dni_async.decisions.actions import LinkRemade, RaiseMarker
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.words import KeptWords
from dni_async.launcher.decisions import succession
from dni_async.launcher.decisions.state import BACK_OFF_S, MAX_BACK_OFF_S, Vacancies
from dni_async.launcher.run_folder.checkpoints import OpenCheckpoints
from tests.simulation.scenario import Death, Scenario, draw

__all__ = ["FAULTS", "Fault", "put_back"]

Patches = Callable[[], list[AbstractContextManager[Any]]]


def _unverified() -> list[AbstractContextManager[Any]]:
    """A checkpoint is sealed whatever was read back of its parts."""
    return [mock.patch("dni_async.launcher.run_folder.checkpoints.fault_in", return_value=None)]


def _not_told_again() -> list[AbstractContextManager[Any]]:
    """What a worker said in the instant of its death is said by nobody else."""
    return [
        mock.patch.object(KeptWords, "hand_over", return_value=[]),
        mock.patch.object(KeptWords, "again", return_value=[]),
        mock.patch("dni_async.launcher.decisions.progress.ask_again", return_value=[]),
    ]


def _always_back_off() -> list[AbstractContextManager[Any]]:
    """Each death of a stage waits twice as long for its replacement as the one before."""

    def delay_s(self: Vacancies, stage: int, *, has_failed: bool) -> float:
        before = self._delays.get(stage)
        longer_s = min(max(2 * (before or 0.0), BACK_OFF_S), MAX_BACK_OFF_S)
        self._delays[stage] = 0.0 if before is None else longer_s
        return self._delays[stage]

    return [mock.patch.object(Vacancies, "_delay_s", delay_s)]


def _pruned() -> list[AbstractContextManager[Any]]:
    """A checkpoint may go that a worker was told to start from."""
    return [mock.patch.object(OpenCheckpoints, "lend", return_value=None)]


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
    return [mock.patch.object(succession, "_beside", return_value=[])]


def _dies_around_a_word(chance: random.Random, scenario: Scenario) -> Scenario:
    """The head, over slow connections."""
    num_stages = max(2, scenario.num_stages)
    death = Death("worker", num_stages - 1, word=chance.randint(3, 10))
    return dataclasses.replace(
        scenario,
        settings={"rule": "dni", "targets": "bootstrap"},
        num_stages=num_stages,
        epochs=5,
        train_batches=2,
        evaluate_every=1,
        latency_s=0.05,
        speeds=(0.001,) * num_stages,
        deaths=(death,),
        stop_at=2.0,
        max_restarts=99,
        stalls=(),
    )


def _dies_behind_checkpoints(chance: random.Random, scenario: Scenario) -> Scenario:
    """Of which one is kept, and many are made."""
    num_stages = max(2, scenario.num_stages)
    death = Death("worker", chance.randrange(num_stages), work=chance.uniform(0.3, 0.9))
    settings = {
        "rule": "dni",
        "targets": "bootstrap",
        "checkpoint_every": "1",
        "keep_checkpoints": 1,
    }
    return dataclasses.replace(
        scenario, settings=settings, num_stages=num_stages, deaths=(death,), stop_at=2.0,
        max_restarts=99, bad_writes=0.0,
    )  # fmt: skip


def _stage_dies_twice(chance: random.Random, scenario: Scenario) -> Scenario:
    """The second time when it has learnt for a while."""
    stage = chance.randrange(scenario.num_stages)
    deaths = (
        Death("worker", stage, work=0.1),
        Death("worker", stage, after_s=chance.uniform(0.3, 1)),
    )
    settings = {"rule": "dni", "targets": "bootstrap"}
    return dataclasses.replace(
        scenario, settings=settings, deaths=deaths, epochs=5, train_batches=9, stop_at=2.0,
        max_restarts=99,
    )  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """patches: what puts it back. focus: makes of a scenario one in which it shows sooner, where
    any one does so seldom.
    """

    patches: Patches
    focus: Callable[[random.Random, Scenario], Scenario] | None = None

    def scenario(self, seed: int) -> Scenario:
        """The seed's, or one of the fault's own."""
        drawn = draw(seed)
        return drawn if self.focus is None else self.focus(random.Random(f"focus {seed}"), drawn)


FAULTS: Final[Mapping[str, Fault]] = {
    "words are not told again": Fault(_not_told_again, _dies_around_a_word),
    "sealed unverified": Fault(_unverified),
    "every death backs off": Fault(_always_back_off, _stage_dies_twice),
    "pruned while a worker starts from it": Fault(_pruned, _dies_behind_checkpoints),
    "not synced": Fault(_unsynced),
    "a marker is lost with a death": Fault(_marker_lost),
    "who waits for the dead": Fault(_neighbours_of_the_dead),
}
"""What each makes of the program: the first sentence of its patches says it."""


@contextmanager
def put_back(name: str) -> Iterator[None]:
    """Within the block the program has that fault."""
    with ExitStack() as stack:
        for patch in FAULTS[name].patches():
            stack.enter_context(patch)
        yield
