"""What the stages of a line in one process tell of themselves, and when they end."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.decisions.machines.undrained import UndrainedMachine
from dni_async.errors import LinkError
from dni_async.wire.messages import BoundaryEpoch, Drain
from dni_async.workers.in_memory import RUN_ID, InMemoryLine, build_line
from tests.workers.lines import NUM_BATCHES, SMALL, named, trained

pytestmark = pytest.mark.usefixtures("as_in_a_worker")


def boundaries(line: InMemoryLine) -> list[BoundaryEpoch]:
    """What has been told of boundaries."""
    return [message for _, message in line.told if isinstance(message, BoundaryEpoch)]


@pytest.mark.parametrize(
    ("settings", "lessons"),
    [
        ({"targets": "bootstrap"}, NUM_BATCHES),
        ({"targets": "anchor", "anchor_every": 5}, 3),
        ({"rule": "dgl"}, 0),
        ({"rule": "fdg"}, 0),
        ({"rule": "backprop"}, 0),
        ({"rule": "no-bprop"}, 0),
    ],
    ids=str,
)
def test_every_boundary_tells_how_its_gradients_agree(
    settings: dict[str, Any], lessons: int
) -> None:
    told = boundaries(trained(**settings))
    assert sorted((each.epoch, each.stage) for each in told) == [
        (epoch, stage) for epoch in (1, 2) for stage in (0, 1, 2)
    ]
    assert {each.num_gradients for each in told} == {lessons}
    assert all(each.staleness_median <= each.staleness_max for each in told)
    if lessons:
        assert all(-1 <= each.cosine <= 1 and each.relative_error > 0 for each in told)
        assert max(each.cosine for each in told if each.stage == 2) > 0.2  # below the head


def test_a_gradient_that_updates_and_teaches_has_one_staleness() -> None:
    """One batch at a time, each updated with its own gradient: by the time it teaches, one late."""
    line = trained(anchor_every=1, anchor_updates=True, window=1)
    assert [counters.staleness.max_staleness for counters in line.counters.values()] == [0] * 4


@pytest.mark.parametrize(
    "settings", [{}, {"anchor_every": 2, "anchor_updates": True, "window": 1}], ids=named
)
def test_the_first_update_is_told_at_once(settings: dict[str, Any]) -> None:
    """One that a gradient from above made as well, though a turn made the next one."""
    line = build_line(RunConfig(**{**SMALL, **settings}))  # type: ignore[arg-type]
    versions = [0] * 4
    while min(versions) < 3:
        for stage, equipment in enumerate(line.equipments):
            line.step(stage)
            versions[stage] = equipment.stage.version
            assert min(versions[stage], 1) <= line.counters[stage].work.updates


def test_how_long_a_thing_may_take_is_told_anew_as_soon_as_it_is_done() -> None:
    """Else a stage that stops after its first test is waited for as if it were still at it."""
    line = build_line(RunConfig(**SMALL))  # type: ignore[arg-type]
    while not line.is_finished:
        for stage, equipment in enumerate(line.equipments):
            line.step(stage)
            is_training = 0 < equipment.stage.version < 2 * NUM_BATCHES
            assert line.longest_s[stage] >= 0.0 or not is_training


def test_a_slow_stage_lets_those_below_run_a_window_ahead() -> None:
    """Stage 2 has one turn in forty; stages 0 and 1 fill their windows, and nobody stops."""
    line = build_line(RunConfig(**{**SMALL, "window": 6}))  # type: ignore[arg-type]
    while not line.is_finished:
        for _ in range(40):
            for stage in (0, 1, 3):
                line.step(stage)
        line.step(2)
    pending = [counters.window.max_pending for counters in line.counters.values()]
    assert pending[:2] == [6, 6]
    assert pending[2] < 6  # the head takes up at once what it is sent
    assert [equipment.stage.version for equipment in line.equipments] == [2 * NUM_BATCHES] * 4


@pytest.mark.parametrize(
    "settings", [{}, {"unlock": "forward"}, {"rule": "backprop"}, {"when_full": "skip"}], ids=named
)
def test_a_drained_line_ends_early_and_well(settings: dict[str, Any]) -> None:
    """Stages that predict their inputs are ahead of the source when it is drained."""
    line = build_line(RunConfig(**{**SMALL, "epochs": 500, **settings}))  # type: ignore[arg-type]
    for _ in line.turns():
        if line.accuracies:
            break
    line.send(0, Drain(RUN_ID))
    line.run()
    assert line.is_finished
    assert len(line.losses) < 4


def test_a_line_that_stands_still_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage 1 never takes anything up."""
    may_turn = UndrainedMachine.has_turn.fget  # type: ignore[attr-defined]
    stuck = property(lambda machine: machine.stage != 1 and may_turn(machine))
    monkeypatch.setattr(UndrainedMachine, "has_turn", stuck)
    line = build_line(RunConfig(**SMALL))  # type: ignore[arg-type]
    with pytest.raises(LinkError, match="the line stands still"):
        line.run()
    assert line.counters[0].window.max_pending <= line.equipments[0].machine.window


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}], ids=str)
def test_every_stage_has_points_at_the_same_updates(settings: dict[str, Any]) -> None:
    line = trained(log_every=3, targets="bootstrap", **settings)
    last = 2 * NUM_BATCHES // settings.get("accumulate", 1)
    for stage in range(4):
        points = line.points[stage]
        assert [point.updates for point in points] == list(range(3, last + 1, 3))
        assert all(point.num_samples > 0 and 0 <= point.busy <= 1 for point in points)
        assert math.isnan(points[-1].loss) == (stage < 3)
        assert math.isnan(points[-1].occupancy) == math.isnan(points[-1].cosine) == (stage == 3)


def test_an_epoch_is_the_mean_of_its_points() -> None:
    line = trained(log_every=1)
    samples = [point.num_samples for point in line.points[3]]
    losses = [point.loss for point in line.points[3]]
    for epoch, mean in enumerate(line.losses):
        part = slice(epoch * NUM_BATCHES, (epoch + 1) * NUM_BATCHES)
        total = sum(loss * num for loss, num in zip(losses[part], samples[part], strict=True))
        assert total / sum(samples[part]) == pytest.approx(mean)
