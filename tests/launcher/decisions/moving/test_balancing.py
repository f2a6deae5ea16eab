"""When layers move by themselves: made-up paces, and what they lead to."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import pytest

from dni_async.launcher.decisions.actions import (
    EnterBrought,
    EnterMove,
    Note,
    RunAction,
    Send,
)
from dni_async.launcher.decisions.events import CheckpointDecided
from dni_async.wire.counters import Times, Work
from dni_async.wire.messages import Hold, Paused, Regrouped
from tests.launcher.decisions.runs import RUN, Run, told, training
from tests.launcher.told import progress

LAYERS = [(0, 4), (4, 8), (8, 12), (12, 16)]


class Line:
    """A run whose stages take so long for each layer of a batch, and tell of it."""

    def __init__(self, **changes: Any) -> None:
        self.run: Run = training(
            4, layers=LAYERS, layer_costs=[1.0] * 16, may_end=[True] * 16,
            checkpoints="checkpoints", num_batches=(10**6, 0), **changes,
        )  # fmt: skip
        self.layer_s = [0.001] * 4
        self.layers: Any = LAYERS
        self.busy_s = [0.0] * 4
        self.updates = 0
        self.moved_at: list[float] = []
        self.entered: list[EnterMove | EnterBrought] = []

    def go_on(self, seconds: float) -> list[str]:
        """What the user is told meanwhile; a move is made as soon as it is asked for."""
        notes: list[str] = []
        for _ in range(int(seconds * 2)):
            stage_s = [
                layer_s * (end - first)
                for layer_s, (first, end) in zip(self.layer_s, self.layers, strict=True)
            ]
            batches = max(1, int(0.5 / max(stage_s)))
            self.updates += batches
            for stage, each_s in enumerate(stage_s):
                self.busy_s[stage] += batches * each_s
                said = dataclasses.replace(progress(stage), run_id=RUN)
                times = Times(train_busy_s=self.busy_s[stage])
                counters = dataclasses.replace(
                    said.counters, work=Work(updates=self.updates), times=times
                )
                self.run.hear(f"stage-{stage}", dataclasses.replace(said, counters=counters))
            notes += self._heed(self.run.tick(0.5))
        return notes

    def _heed(self, actions: list[RunAction]) -> list[str]:
        notes = [action.text for action in actions if isinstance(action, Note)]
        self.entered += [a for a in actions if isinstance(a, EnterMove | EnterBrought)]
        for action in actions:
            if isinstance(action, Send) and isinstance(action.message, Hold):
                notes += self._move(action.message.number)
        return notes

    def _move(self, number: int) -> list[str]:
        run, place = self.run, 10 * number
        self.moved_at.append(run.now)
        run.hear("stage-0", Paused(RUN, number, 1, place))
        actions = run.handle(CheckpointDecided(run.now, place, True))
        (entered,) = (action for action in actions if isinstance(action, EnterMove))
        self.entered.append(entered)
        before, self.layers = self.layers, entered.layers
        rest: list[RunAction] = []
        for stage in range(4):
            if tuple(before[stage]) != tuple(self.layers[stage]):
                rest += run.hear(f"stage-{stage}", Regrouped(RUN, stage, number))
        return [action.text for action in rest if isinstance(action, Note)]

    @property
    def counts(self) -> list[int]:
        return [end - first for first, end in self.layers]


def test_a_stage_that_becomes_four_times_slower_gives_layers_away_and_has_them_back() -> None:
    line = Line()
    assert line.go_on(20) == []
    line.layer_s[1] = 0.004
    asked, done, brought = line.go_on(6)
    assert line.counts == [5, 1, 5, 5]
    assert asked.startswith("stage 1 takes 16.00 ms for a batch, the others 4.00 at most")
    assert "hold 5+1+5+5 layers instead of 4+4+4+4, so that the slowest takes 5.00" in asked
    assert done.startswith("layers have moved: stages hold 5 1 5 5 now")
    assert "takes 5.00 ms for a batch, 16.00 before and 5.00 foretold" in brought
    moved, found = line.entered
    assert isinstance(moved, EnterMove)
    assert isinstance(found, EnterBrought)
    assert (moved.before_s, moved.foretold_s) == pytest.approx((0.016, 0.005))
    assert found.seconds == pytest.approx(0.005)
    line.layer_s[1] = 0.001
    line.go_on(15)
    assert line.counts == [5, 1, 5, 5]  # it waits, so nobody knows yet how fast it is
    line.go_on(10)
    assert line.counts == [4, 4, 4, 4]


def test_who_waits_is_taken_for_no_faster_than_it_was_when_it_worked_all_the_time() -> None:
    """Held to a share of a core, it uses up what was left over while it waited."""
    line = Line()
    line.go_on(5)
    line.layer_s = [0.0008, 0.004, 0.0003, 0.0004]
    asked, *_ = line.go_on(6)
    assert "hold 5+1+5+5 layers instead of 4+4+4+4" in asked
    assert line.counts == [5, 1, 5, 5]


def test_what_lasts_for_a_moment_moves_nothing() -> None:
    line = Line()
    line.go_on(5)
    line.layer_s[1] = 0.004
    line.go_on(1)
    line.layer_s[1] = 0.001
    assert line.go_on(10) == []
    assert line.counts == [4, 4, 4, 4]


def test_little_to_be_gained_moves_nothing() -> None:
    line = Line()
    line.layer_s = [0.001, 0.0011, 0.001, 0.0009]
    assert line.go_on(20) == []


def test_moves_that_bring_nothing_become_rare() -> None:
    """A stage is as slow with one layer as with four: something else keeps it up."""
    line = Line()

    for _ in range(400):
        first, end = line.layers[1]
        line.layer_s[1] = 0.016 / (end - first)
        line.go_on(0.5)
    gaps = [later - at for at, later in pairwise(line.moved_at)]
    assert len(line.moved_at) < 8  # in 200 s
    assert gaps == sorted(gaps)


def test_without_costs_nothing_moves() -> None:
    run = training(4, layers=LAYERS)
    assert run.machine._state.balance is None
    run.hear("stage-0", told(0, updates=5))
