"""Where batches follow markers at once, each stage works in order, and markers come down so."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async import LinkError
from dni_async.config.assembly import make_stage_machine
from dni_async.config.run_config import RunConfig
from dni_async.decisions.actions import (
    Action,
    Announce,
    Arrived,
    Batch,
    CheckpointDue,
    Credited,
    Cut,
    Drained,
    Evaluate,
    Finish,
    Forward,
    GiveCredit,
    LinkRemade,
    LowerMarker,
    Mark,
    MarkerReturned,
    RaiseCut,
    RaiseMarker,
    Save,
    Turn,
)
from dni_async.decisions.machines.markers import END
from dni_async.decisions.machines.position import Position
from dni_async.decisions.machines.undrained import UndrainedMachine
from dni_async.decisions.rules import AnchorRule, BootstrapRule, NoBackpropRule, Rule
from dni_async.decisions.schedule import plan_work, resume_work
from tests.decisions.line import Line

RULES = {
    "bootstrap": BootstrapRule(),
    "anchor 4": AnchorRule(4),
    "no anchors": AnchorRule(0),
    "control": NoBackpropRule(),
}
TRAINED, TESTED = Mark("trained", 1, 2), Mark("evaluated", 1, 3)


class UndrainedLine(Line):
    """A line that nobody drains."""

    kind = UndrainedMachine


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("window", [1, 2, 8])
@settings(deadline=None, max_examples=20, database=None)
@given(num_stages=st.integers(2, 5), cut_every=st.sampled_from((0, 4)), seed=st.integers(0, 2**32))
def test_each_stage_does_all_work_in_order_and_tells_of_it_in_order(
    rule: Rule, window: int, num_stages: int, cut_every: int, seed: int
) -> None:
    work = list(plan_work(3, 5, 2, anchor_every=rule.anchor_every, cut_every=cut_every))
    line = UndrainedLine(num_stages, window, rule, work)
    line.run(random.Random(seed))
    batches = [item.batch_id for item in work if isinstance(item, Batch)]
    marks = [item for item in work if isinstance(item, Mark)]
    for stage, machine in enumerate(line.machines):
        assert machine.finished
        assert (machine.pending, line.kept[stage]) == (0, set())
        actions = [action for where, action in line.trace if where == stage]
        worked = [a.batch_id for a in actions if isinstance(a, Forward | Evaluate)]
        assert worked == batches
        assert [a.mark for a in actions if isinstance(a, Announce)] == marks
        assert_told_before_cuts(actions)


def assert_told_before_cuts(actions: list[object]) -> None:
    """What a checkpoint lies behind has been told of when the stage is saved."""
    told = 0
    for action in actions:
        if isinstance(action, Announce) and action.mark.kind == "evaluated":
            told = action.mark.epoch
        elif isinstance(action, Save):
            assert told == action.cut.epoch - 1


def test_nobody_waits_for_a_marker() -> None:
    """The source is at the second epoch while the first one's markers lie unheard above."""
    line = UndrainedLine(3, 8, BootstrapRule(), list(plan_work(2, 2, 1)))
    while line.machines[0].has_turn:
        line.step(0, "turn")
    sent = [event.item for event in line.up[1] if isinstance(event, Arrived)]
    second = [Batch(3, "train"), Batch(4, "train"), Mark("trained", 2), Batch(5, "evaluate")]
    first = [Batch(0, "train"), Batch(1, "train"), TRAINED, Batch(2, "evaluate"), TESTED]
    assert sent == [*first, *second, Mark("evaluated", 2)]  # and the end waits
    assert line.machines[0].pending == 6


def middle(*marks: Mark) -> UndrainedMachine:
    """A stage that has passed these markers on."""
    machine = UndrainedMachine(position=Position(1, 3), window=4, rule=AnchorRule(0))
    for mark in marks:
        machine.handle(Arrived(mark))
        assert machine.handle(Turn()) == [RaiseMarker(mark)]
    return machine


def test_a_marker_comes_down_behind_what_was_before_it_whatever_is_in_flight_behind() -> None:
    machine = UndrainedMachine(position=Position(1, 3), window=8, rule=AnchorRule(0))
    for item in (Batch(1, "train"), TRAINED, Batch(2, "evaluate")):
        machine.handle(Arrived(item))
        machine.handle(Turn())
    with pytest.raises(LinkError, match="1 batches were in flight"):
        machine.handle(MarkerReturned(TRAINED))
    machine.handle(Credited(1))
    assert machine.handle(MarkerReturned(TRAINED)) == [
        GiveCredit((1, 2)),
        Announce(TRAINED),
        LowerMarker(TRAINED),
    ]


def test_markers_come_back_in_the_order_in_which_they_were_raised() -> None:
    with pytest.raises(LinkError, match="was awaited"):
        middle(TRAINED, TESTED).handle(MarkerReturned(TESTED))


def test_a_new_stage_above_is_sent_all_markers_on_their_way() -> None:
    machine = middle(TRAINED, TESTED)
    assert machine.handle(LinkRemade("above")) == [RaiseMarker(TRAINED), RaiseMarker(TESTED)]
    machine.handle(MarkerReturned(TRAINED))
    assert machine.handle(LinkRemade("above")) == [RaiseMarker(TESTED)]


def test_a_new_source_that_is_to_end_repeats_markers_that_nobody_may_have_heard_of() -> None:
    """The head has told of the epoch; what its source says of it would be missing."""
    later = Batch(3, "train", False, 2, 0)
    work = [Batch(0, "train"), Batch(1, "train"), TRAINED, Batch(2, "evaluate"), TESTED, later, END]

    def source(next_batch_id: int) -> UndrainedMachine:
        return UndrainedMachine(
            position=Position(0, 2),
            window=2,
            rule=AnchorRule(0),
            work=iter(work),
            next_batch_id=next_batch_id,
        )

    def raised(machine: UndrainedMachine) -> list[Action]:
        found = []
        machine.handle(Drained())
        while machine.has_turn:
            found += machine.handle(Turn())
        for action in list(found):
            if isinstance(action, RaiseMarker) and action.mark != END:
                machine.handle(MarkerReturned(action.mark))
        while machine.has_turn:
            found += machine.handle(Turn())
        return found

    assert raised(source(3)) == [RaiseMarker(TRAINED), RaiseMarker(TESTED), RaiseMarker(END)]
    assert raised(source(0)) == [RaiseMarker(END)]


def test_a_marker_that_a_new_stage_below_does_not_repeat_is_not_lowered() -> None:
    machine = middle(TRAINED, TESTED)
    machine.handle(LinkRemade("below"))
    assert machine.handle(Arrived(TESTED)) == []  # it is on its way
    assert machine.handle(MarkerReturned(TRAINED)) == [Announce(TRAINED)]
    assert machine.handle(MarkerReturned(TESTED)) == [Announce(TESTED), LowerMarker(TESTED)]


def test_one_that_is_back_is_lowered_at_once_also_where_only_a_predecessor_had_seen_it() -> None:
    machine = middle(TESTED)  # a replacement, which the one below sent nothing from before
    machine.handle(MarkerReturned(TESTED))
    machine.handle(LinkRemade("below"))
    assert machine.handle(Arrived(TRAINED)) == [LowerMarker(TRAINED)]
    assert machine.handle(Arrived(TESTED)) == [LowerMarker(TESTED)]
    machine.handle(Arrived(Batch(3, "train")))
    machine.handle(Turn())
    assert machine.handle(Arrived(Mark("trained", 2, 4))) == []
    assert machine.handle(Turn()) == [RaiseMarker(Mark("trained", 2, 4))]


def test_one_that_waits_here_does_not_count_twice() -> None:
    machine = UndrainedMachine(position=Position(1, 3), window=4, rule=AnchorRule(0))
    machine.handle(Arrived(TRAINED))
    machine.handle(LinkRemade("below"))
    assert machine.handle(Arrived(TRAINED)) == []
    assert machine.handle(Turn()) == [RaiseMarker(TRAINED)]
    assert not machine.has_turn


def test_a_new_source_raises_again_what_may_not_have_been_heard() -> None:
    work = list(plan_work(3, 2, 1))
    marks = [item for item in work if isinstance(item, Mark)]
    rest = list(resume_work(iter(work), 4, reach=2))
    assert rest == [*marks[:2], *work[work.index(Batch(4, "train", False, 2, 1)) :]]
    assert next(resume_work(iter(work), 4)) == Batch(4, "train", False, 2, 1)


def test_a_cut_and_the_end_wait_until_no_marker_is_on_its_way() -> None:
    work = iter([TRAINED, TESTED, Batch(3, "train", False, 2, 0), END])
    machine = UndrainedMachine(position=Position(0, 2), window=4, rule=AnchorRule(0), work=work)
    machine.handle(CheckpointDue())
    machine.handle(Turn())
    machine.handle(Turn())
    assert (machine.upcoming, machine.has_turn) == (None, False)  # else none might ever be made
    for mark in (TRAINED, TESTED):
        machine.handle(MarkerReturned(mark))
    assert isinstance(machine.handle(Turn())[0], RaiseCut)
    machine.handle(Turn())
    machine.handle(Turn())
    machine.handle(Credited(3))
    assert machine.handle(MarkerReturned(END)) == [Announce(END), Finish()]


def test_nothing_comes_behind_the_end() -> None:
    with pytest.raises(LinkError, match="past a marker"):
        middle(END).handle(Arrived(Batch(9, "train")))


def test_cuts_of_the_plan_wait_at_the_source_alone() -> None:
    cut = Cut(3, 2, 0)
    machine = UndrainedMachine(
        position=Position(0, 2), window=4, rule=AnchorRule(0), work=iter([TRAINED, cut])
    )
    machine.handle(Turn())
    assert not machine.has_turn
    above = middle(TRAINED)
    above.handle(Arrived(cut))
    assert above.handle(Turn()) == [RaiseCut(cut), Save(cut)]


@pytest.mark.parametrize(
    ("settings_of_run", "num_stages", "drains"),
    [
        ({}, 4, False),
        ({"targets": "bootstrap"}, 4, False),
        ({"rule": "dgl"}, 4, False),
        ({"rule": "no-bprop"}, 4, False),
        ({"target": 0.9}, 4, False),
        ({"checkpoint_every": "5"}, 4, False),
        ({}, 1, True),
        ({"rule": "backprop"}, 4, True),
        ({"rule": "fdg"}, 4, True),
        ({"anchor_updates": True}, 4, True),
        ({"patience": 2}, 4, True),
        ({"target": 0.9, "early_stop": True}, 4, True),
        ({"keep_best": True}, 4, True),
        ({"when_full": "skip"}, 4, True),
        ({"when_empty": "replay"}, 4, True),
        ({"unlock": "forward"}, 4, True),
    ],
    ids=lambda value: str(value),
)
def test_where_the_line_is_drained(
    settings_of_run: dict[str, object], num_stages: int, drains: bool
) -> None:
    config = RunConfig.from_dict(settings_of_run)
    machine = make_stage_machine(
        config, config.make_rule(), stage=0, num_stages=num_stages, num_batches=(4, 2)
    )
    assert machine.drains == drains
