"""Machines joined to a whole line, at random speeds: nothing is lost, doubled or stuck."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.decisions.actions import (
    Action,
    Announce,
    Batch,
    Evaluate,
    Finish,
    Forward,
    Item,
    Learn,
    Load,
    Mark,
    Update,
)
from dni_async.decisions.rules import (
    AnchorRule,
    BackpropRule,
    BootstrapRule,
    DelayedRule,
    NoBackpropRule,
    Rule,
)
from dni_async.decisions.schedule import plan_work
from tests.decisions.line import Line

EPOCHS, TRAIN_BATCHES, EVALUATE_BATCHES = 2, 9, 3
RULES = {"bootstrap": BootstrapRule(), "backprop": BackpropRule(), "anchor 1": AnchorRule(1),
         "anchor 4": AnchorRule(4), "updating anchors": AnchorRule(4, updates=True),
         "no anchors": AnchorRule(0), "delayed": DelayedRule(0.5),
         "control": NoBackpropRule()}  # fmt: skip


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("window", [1, 2, 8])
@pytest.mark.parametrize("num_stages", range(1, 7))
@settings(deadline=None, max_examples=8, database=None)
@given(seed=st.integers(0, 2**32))
def test_a_line_at_any_speed_finishes_with_every_batch_done_once_at_every_stage(
    num_stages: int, window: int, rule: Rule, seed: int
) -> None:
    plan = plan_work(EPOCHS, TRAIN_BATCHES, EVALUATE_BATCHES, anchor_every=rule.anchor_every)
    work = list(plan)
    line = Line(num_stages, window, rule, work)
    line.run(random.Random(seed))

    for stage, machine in enumerate(line.machines):
        assert machine.finished
        assert machine.pending == 0
        assert machine.max_pending <= line.window
        assert not line.kept[stage]
        actions = [action for where, action in line.trace if where == stage]
        assert_complete(actions, work, rule, is_head=stage == num_stages - 1)
        marks = [item for item in work if isinstance(item, Mark)]
        assert [a.mark for a in actions if isinstance(a, Announce)] == marks
    assert_no_overlap(line, work)
    if isinstance(rule, BackpropRule):
        assert_lockstep(line)


def assert_complete(actions: list[Action], work: list[Item], rule: Rule, *, is_head: bool) -> None:
    """One stage did everything once: forwards in order, updates and lessons as the rule says."""
    batches = [item for item in work if isinstance(item, Batch)]
    train_ids = [batch.batch_id for batch in batches if batch.purpose == "train"]
    done = [action.batch_id for action in actions if isinstance(action, Forward | Evaluate)]
    assert done == [batch.batch_id for batch in batches]
    updated = [action.batch_id for action in actions if isinstance(action, Update)]
    if isinstance(rule, NoBackpropRule) and not is_head:
        assert updated == []
    else:
        assert sorted(updated) == train_ids  # an anchor's comes late
    learnt = [action.batch_id for action in actions if isinstance(action, Learn)]
    lessons = {
        BackpropRule: [],
        BootstrapRule: train_ids,
        DelayedRule: [],
        NoBackpropRule: [],
        AnchorRule: [batch.batch_id for batch in batches if batch.anchor],
    }
    assert learnt == ([] if is_head else lessons[type(rule)])
    assert [action for action in actions if isinstance(action, Finish)] == [actions[-1]]


def assert_no_overlap(line: Line, work: list[Item]) -> None:
    """No stage does anything of a phase before every stage has ended the one before."""
    phase_of: dict[int, int] = {}
    phase = 0
    for item in work:
        if isinstance(item, Mark):
            phase += 1
        else:
            phase_of[item.batch_id] = phase
    phases = [
        phase_of[action.batch_id]
        for _, action in line.trace
        if isinstance(action, Forward | Evaluate | Update | Learn)
    ]
    assert phases == sorted(phases)


def assert_lockstep(line: Line) -> None:
    """All work on a training batch, at every stage, is done before the next one begins."""
    worked = [a.batch_id for _, a in line.trace if isinstance(a, Forward | Update)]
    assert worked == sorted(worked)


def test_a_stalled_head_stops_the_source_after_all_windows_are_full() -> None:
    """Backpressure, not a queue without end: window per link, and nothing is lost."""
    num_stages, window = 4, 3
    work = list(plan_work(1, train_batches=100, evaluate_batches=0))
    line = Line(num_stages, window, BootstrapRule(), work)
    while possible := [c for c in line.choices() if c != (num_stages - 1, "turn")]:
        line.step(*possible[0])
    loads = sum(isinstance(action, Load) for _, action in line.trace)
    assert [machine.pending for machine in line.machines] == [window, window, window, 0]
    assert loads == window * (num_stages - 1)
    line.run(random.Random(0))
    assert all(machine.finished for machine in line.machines)
