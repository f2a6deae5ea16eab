"""A neighbour is replaced: this state and event give exactly these actions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dni_async import LinkError
from dni_async.decisions.actions import (
    Action,
    Announce,
    Arrived,
    Batch,
    Credited,
    Drained,
    Event,
    Finish,
    Forget,
    GiveCredit,
    Item,
    LinkRemade,
    LowerMarker,
    Mark,
    MarkerReturned,
    RaiseMarker,
    Returned,
    ReturnGradient,
    Turn,
)
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.rules import AnchorRule, BootstrapRule, DelayedRule, Rule
from dni_async.decisions.schedule import plan_work

TRAINED, EVALUATED, STOP = Mark("trained", 1), Mark("evaluated", 1), Mark("stop", 1)
ABOVE, BELOW = LinkRemade("above"), LinkRemade("below")


def middle(rule: Rule, *before: Event, window: int = 4) -> StageMachine:
    """Stage 1 of three after these events."""
    machine = StageMachine(position=Position(1, 3), window=window, rule=rule)
    for event in before:
        machine.handle(event)
    return machine


def taken_up(*batch_ids: int) -> list[Event]:
    """The batches arrive and are taken up."""
    arrivals: list[Event] = [Arrived(Batch(batch_id, "train")) for batch_id in batch_ids]
    return [*arrivals, *[Turn()] * len(batch_ids)]


@pytest.mark.parametrize(
    ("rule", "before", "actions"),
    [
        pytest.param(BootstrapRule(), [], [], id="nothing in flight"),
        pytest.param(
            BootstrapRule(), taken_up(1, 2), [Forget(1), Forget(2)], id="freed below already"
        ),
        pytest.param(
            DelayedRule(1.0),
            taken_up(1, 2),
            [Forget(1), GiveCredit((1, 2)), Forget(2)],
            id="what would free the place below does not come back",
        ),
        pytest.param(
            BootstrapRule(),
            [*taken_up(1), Arrived(TRAINED), Turn()],
            [Forget(1), RaiseMarker(TRAINED)],
            id="a marker on its way is raised again",
        ),
        pytest.param(
            BootstrapRule(),
            [Arrived(TRAINED), Turn(), MarkerReturned(TRAINED)],
            [],
            id="one that is back is not",
        ),
    ],
)
def test_to_a_new_stage_above(rule: Rule, before: Sequence[Event], actions: list[Action]) -> None:
    machine = middle(rule, *before)
    assert machine.handle(ABOVE) == actions
    assert machine.pending == 0
    assert machine.has_turn is False


def test_an_old_stage_above_has_nothing_to_say_any_more() -> None:
    machine = middle(BootstrapRule(), *taken_up(1), ABOVE)
    with pytest.raises(LinkError, match="released batch 1, which is not in flight"):
        machine.handle(Returned(1))


def test_a_credit_for_what_was_lost_further_up_is_passed_on() -> None:
    machine = middle(DelayedRule(1.0), *taken_up(1, 2))
    assert machine.handle(Credited(1)) == [Forget(1)]
    assert machine.owes_credits
    assert machine.handle(Credited(2)) == [GiveCredit((1, 2)), Forget(2)]


def test_a_new_stage_below_gets_no_answer_to_what_it_did_not_send() -> None:
    machine = middle(DelayedRule(1.0), *taken_up(1), Arrived(Batch(2, "train")), BELOW)
    machine.handle(Turn())  # the batch that had arrived is worked on
    for batch_id in (1, 2):
        actions = machine.handle(Returned(batch_id))
        assert actions[-1] == Forget(batch_id)
        assert not any(isinstance(action, ReturnGradient) for action in actions)
    machine = middle(AnchorRule(0), *taken_up(1), BELOW)
    assert not machine.owes_credits


def test_a_new_stage_below_has_the_whole_window() -> None:
    machine = middle(DelayedRule(1.0), *taken_up(1, 2, 3, 4), BELOW)
    for batch_id in (5, 6, 7, 8):
        machine.handle(Arrived(Batch(batch_id, "train")))
    with pytest.raises(LinkError, match="a window of 4"):
        machine.handle(Arrived(Batch(9, "train")))
    assert machine.next_batch_id == 9


@pytest.mark.parametrize(
    ("before", "event", "actions"),
    [
        pytest.param(
            [Arrived(TRAINED), BELOW, Arrived(TRAINED)],
            Turn(),
            [RaiseMarker(TRAINED)],
            id="not yet taken up: it comes anew",
        ),
        pytest.param(
            [Arrived(TRAINED), Turn(), BELOW],
            MarkerReturned(TRAINED),
            [Announce(TRAINED)],
            id="back before it is raised again",
        ),
        pytest.param(
            [Arrived(TRAINED), Turn(), BELOW, MarkerReturned(TRAINED)],
            Arrived(TRAINED),
            [LowerMarker(TRAINED)],
            id="raised again when it is back",
        ),
        pytest.param(
            [Arrived(TRAINED), Turn(), BELOW, Arrived(TRAINED)],
            MarkerReturned(TRAINED),
            [Announce(TRAINED), LowerMarker(TRAINED)],
            id="raised again while it is on its way",
        ),
        pytest.param(
            [Arrived(STOP), Turn(), BELOW, MarkerReturned(STOP)],
            Arrived(STOP),
            [LowerMarker(STOP), Finish()],
            id="nobody leaves before the new one may",
        ),
    ],
)
def test_a_marker_that_a_new_stage_below_raises_once_more(
    before: Sequence[Event], event: Event, actions: list[Action]
) -> None:
    assert middle(BootstrapRule(), *before).handle(event) == actions


def test_several_passed_markers_are_answered_one_by_one() -> None:
    machine = middle(BootstrapRule())
    for mark in (TRAINED, EVALUATED):
        for event in (Arrived(mark), Turn(), MarkerReturned(mark)):
            machine.handle(event)
    machine.handle(BELOW)
    assert machine.handle(Arrived(TRAINED)) == [LowerMarker(TRAINED)]
    assert machine.handle(Arrived(EVALUATED)) == [LowerMarker(EVALUATED)]


def test_a_new_source_that_is_told_to_end_raises_the_end_that_is_on_its_way() -> None:
    """The one before it had come to the end of its work; nobody waits for two ends of a run."""
    before = [item for item in plan_work(3, 1, 0) if isinstance(item, Mark)][-1]
    work: list[Item] = [Batch(0, "train", False, 1, 0)]
    source = StageMachine(position=Position(0, 3), window=2, rule=BootstrapRule(), work=iter(work))
    source.handle(Drained())
    (raised,) = source.handle(Turn())
    assert isinstance(raised, RaiseMarker)

    machine = middle(BootstrapRule(), Arrived(before), Turn(), BELOW)
    assert machine.handle(Arrived(raised.mark)) == []
    *_, lowered, left = machine.handle(MarkerReturned(before))
    assert (lowered, left) == (LowerMarker(raised.mark), Finish())


@pytest.mark.parametrize("is_back", [False, True], ids=["on its way", "back"])
def test_a_new_source_repeats_two_markers(is_back: bool) -> None:
    """That one was answered does not make the other one come past it."""
    machine = middle(BootstrapRule())
    for event in (Arrived(TRAINED), Turn(), MarkerReturned(TRAINED), Arrived(EVALUATED), Turn()):
        machine.handle(event)
    if is_back:
        machine.handle(MarkerReturned(EVALUATED))
        machine.handle(Arrived(STOP))
        machine.handle(Turn())
    machine.handle(BELOW)
    passed = (TRAINED, EVALUATED) if is_back else (TRAINED,)
    for mark in passed:
        assert machine.handle(Arrived(mark)) == [LowerMarker(mark)]
    under_way = STOP if is_back else EVALUATED
    assert machine.handle(Arrived(under_way)) == []
    assert LowerMarker(under_way) in machine.handle(MarkerReturned(under_way))


def test_only_a_new_stage_below_may_repeat_a_marker() -> None:
    machine = middle(BootstrapRule(), Arrived(TRAINED), Turn())
    with pytest.raises(LinkError, match="past a marker"):
        machine.handle(Arrived(TRAINED))
    machine = middle(BootstrapRule(), Arrived(TRAINED), Turn(), MarkerReturned(TRAINED), BELOW)
    machine.handle(Arrived(Batch(1, "evaluate")))
    machine.handle(Arrived(TRAINED))  # behind a batch it is a marker like any other
    machine.handle(Turn())
    machine.handle(Credited(1))
    assert machine.handle(Turn()) == [RaiseMarker(TRAINED)]


def test_a_replaced_source_goes_on_where_it_is_told() -> None:
    work = [*(Batch(n, "train", False, 1, n) for n in range(5)), TRAINED, STOP]
    machine = StageMachine(
        position=Position(0, 2), window=8, rule=BootstrapRule(), work=iter(work), next_batch_id=3
    )
    assert machine.upcoming == work[3]
    assert machine.next_batch_id == 3
    machine.handle(Turn())
    assert machine.next_batch_id == 4
