"""Checkpoints cut the line at one place for all stages, and hold nobody up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.decisions.actions import (
    Announce,
    Arrived,
    Batch,
    CheckpointDue,
    Credited,
    Cut,
    Forward,
    Item,
    Mark,
    MarkerReturned,
    RaiseCut,
    RaiseMarker,
    Returned,
    Save,
    Turn,
    Update,
)
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.machines.uneven import Slack, UnevenMachine
from dni_async.decisions.machines.unlocked import UnlockedMachine
from dni_async.decisions.rules import AnchorRule, BackpropRule, BootstrapRule, Rule
from dni_async.decisions.schedule import plan_work
from tests.decisions.line import Line
from tests.decisions.machines.test_unlocked import UnlockedLine
from tests.decisions.test_skip_replay import UnevenLine

FIRST, SECOND = (Batch(i, "train", epoch=1, index=i) for i in range(2))
TRAINED = Mark("trained", 1)


def machine(stage: int, work: list[Item] | None = None, *, window: int = 2) -> StageMachine:
    """One of two stages that wait for no gradient."""
    order = None if work is None else iter(work)
    return StageMachine(position=Position(stage, 2), window=window, rule=AnchorRule(0), work=order)


def test_a_cut_that_is_due_stands_before_the_next_training_batch() -> None:
    source = machine(0, [FIRST, TRAINED, Batch(1, "evaluate"), Batch(2, "train", epoch=2)])
    source.handle(Turn())
    source.handle(Credited(0))
    source.handle(CheckpointDue())
    assert source.handle(Turn()) == [RaiseMarker(TRAINED)]  # no training batch is next
    source = machine(0, [FIRST, SECOND])
    source.handle(Turn())
    source.handle(CheckpointDue())
    assert source.upcoming is None
    assert source.handle(Turn()) == [RaiseCut(Cut(1, 1, 1)), Save(Cut(1, 1, 1))]
    assert source.upcoming == SECOND


def test_no_batch_has_two_cuts_before_it() -> None:
    """However often one is due while the batch waits: two would write the same files at a time."""
    source = machine(0, [FIRST, SECOND, Batch(2, "train", epoch=1, index=2)])
    source.handle(CheckpointDue())
    assert source.handle(Turn()) == [RaiseCut(Cut(0, 1, 0)), Save(Cut(0, 1, 0))]
    source.handle(CheckpointDue())
    assert Save(Cut(0, 1, 0)) not in source.handle(
        Turn()
    )  # the batch, and what was due is not lost
    assert source.handle(Turn()) == [RaiseCut(Cut(1, 1, 1)), Save(Cut(1, 1, 1))]


def test_a_cut_waits_for_a_place_as_the_batch_behind_it_would() -> None:
    """With a window of 1 nothing is in flight at a cut."""
    source = machine(0, [FIRST, Cut.before(SECOND), SECOND], window=1)
    source.handle(Turn())
    assert not source.has_turn
    source.handle(Credited(0))
    assert source.handle(Turn())[-1] == Save(Cut(1, 1, 1))


def test_a_cut_is_taken_up_behind_the_batches_before_it() -> None:
    head = machine(1)
    head.handle(Arrived(FIRST))
    head.handle(Arrived(Cut(1, 1, 1)))
    assert Save(Cut(1, 1, 1)) not in head.handle(Turn())
    assert head.handle(Turn()) == [Save(Cut(1, 1, 1))]


def test_a_stage_that_skips_saves_though_the_window_is_full() -> None:
    stage = UnevenMachine(
        position=Position(1, 3), window=1, rule=AnchorRule(0), slack=Slack(skips=True)
    )
    stage.handle(Arrived(FIRST))
    stage.handle(Turn())
    stage.handle(Arrived(Cut(1, 1, 1)))
    assert stage.handle(Turn()) == [RaiseCut(Cut(1, 1, 1)), Save(Cut(1, 1, 1))]


def test_an_unlocked_stage_that_is_behind_does_what_comes_before_the_cut_first() -> None:
    work: list[Item] = [FIRST, SECOND, TRAINED]
    stage = UnlockedMachine(position=Position(1, 2), window=4, rule=AnchorRule(0), work=iter(work))
    stage.handle(Arrived(FIRST))
    stage.handle(Arrived(Cut(1, 1, 1)))
    assert any(isinstance(action, Forward) for action in stage.handle(Turn()))
    assert stage.handle(Turn()) == [Save(Cut(1, 1, 1))]


@pytest.mark.parametrize("kind", [Line, UnevenLine, UnlockedLine])
@pytest.mark.parametrize("window", [1, 3])
@settings(deadline=None, max_examples=25, database=None)
@given(num_stages=st.integers(1, 5), every=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_every_stage_saves_every_cut_once_and_the_run_ends_as_ever(
    kind: type[Line], window: int, num_stages: int, every: int, seed: int
) -> None:
    rule = BootstrapRule()
    work = list(plan_work(2, train_batches=7, evaluate_batches=2, cut_every=every))
    line = kind(num_stages, window, rule, work)
    line.run(random.Random(seed))
    cuts = [item for item in work if isinstance(item, Cut)]
    marks = [item for item in work if isinstance(item, Mark)]
    for stage, each in enumerate(line.machines):
        assert each.finished
        actions = [action for where, action in line.trace if where == stage]
        assert [action.cut for action in actions if isinstance(action, Save)] == cuts
        assert [action.mark for action in actions if isinstance(action, Announce)] == marks


@pytest.mark.parametrize(("rule", "window"), [(BackpropRule(), 8), (BootstrapRule(), 1)])
@settings(deadline=None, max_examples=25, database=None)
@given(num_stages=st.integers(1, 5), every=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_with_a_window_of_1_every_stage_saves_with_all_before_the_cut_done_and_nothing_after(
    rule: Rule, window: int, num_stages: int, every: int, seed: int
) -> None:
    work = list(plan_work(2, train_batches=7, evaluate_batches=2, cut_every=every))
    line = Line(num_stages, window, rule, work)
    line.run(random.Random(seed))
    train_ids = [i.batch_id for i in work if isinstance(i, Batch) and i.purpose == "train"]
    for stage in range(num_stages):
        done: list[int] = []
        for where, action in line.trace:
            if where != stage:
                continue
            if isinstance(action, Update):
                done.append(action.batch_id)
            if isinstance(action, Save):
                assert done == [i for i in train_ids if i < action.cut.batch_id]


def test_a_source_that_still_has_a_gradient_to_come_does_not_cut_in_lockstep() -> None:
    work: list[Item] = [FIRST, Cut.before(SECOND), SECOND]
    source = StageMachine(position=Position(0, 2), window=4, rule=BackpropRule(), work=iter(work))
    source.handle(Turn())
    assert not source.has_turn
    source.handle(Returned(0))
    assert source.has_turn


def that_saves(stage: StageMachine) -> StageMachine:
    """The stage, which saves what has been tested."""
    stage.cuts.saves_tests = True
    return stage


@pytest.mark.parametrize("kind", [Line, UnevenLine, UnlockedLine])
@settings(deadline=None, max_examples=25, database=None)
@given(
    num_stages=st.integers(1, 5),
    window=st.integers(1, 4),
    every=st.integers(0, 9),
    evaluate_every=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_every_stage_saves_what_was_tested_before_it_learns_on(
    kind: type[Line], num_stages: int, window: int, every: int, evaluate_every: int, seed: int
) -> None:
    plan = plan_work(5, 7, 2, cut_every=every, evaluate_every=evaluate_every, tests_are_saved=True)
    work = list(plan)
    line = kind(num_stages, window, BootstrapRule(), work)
    for each in line.machines:
        that_saves(each)
    line.run(random.Random(seed))
    ends = [m for m in work if isinstance(m, Mark) and m.kind == "evaluated"]
    of_tests = [Cut(9 * mark.epoch, mark.epoch + 1, 0) for mark in ends]
    for stage, machine in enumerate(line.machines):
        assert machine.finished
        actions = [action for where, action in line.trace if where == stage]
        saves = [action.cut for action in actions if isinstance(action, Save)]
        assert [cut for cut in saves if cut in of_tests] == of_tests
        assert len(set(saves)) == len(saves)
        for mark, cut in zip(ends, of_tests, strict=True):
            begun = actions.index(Announce(Mark("trained", mark.epoch)))
            between = actions[begun : actions.index(Save(cut))]
            assert not any(isinstance(action, Update) for action in between)


def test_a_stage_that_was_not_there_for_the_whole_test_is_not_what_was_tested() -> None:
    work: list[Item] = [TRAINED, Batch(1, "evaluate", epoch=1), Mark("evaluated", 1, 2)]
    whole, late = that_saves(machine(0, work)), that_saves(machine(0, work[1:]))
    whole.handle(Turn())
    whole.handle(MarkerReturned(TRAINED))
    saves = []
    for source in (whole, late):
        source.handle(Turn())
        source.handle(Credited(1))
        source.handle(Turn())
        saves.append(Save(Cut(2, 2, 0)) in source.handle(MarkerReturned(Mark("evaluated", 1, 2))))
    assert saves == [True, False]


def test_a_cut_that_is_due_stands_behind_the_first_batch_after_a_test() -> None:
    """Where all have saved: a source that has taken another's place would save something else."""
    source = that_saves(machine(0, [FIRST, SECOND]))
    source.handle(CheckpointDue())
    assert Save(Cut(0, 1, 0)) not in source.handle(Turn())
    assert source.handle(Turn()) == [RaiseCut(Cut(1, 1, 1)), Save(Cut(1, 1, 1))]
