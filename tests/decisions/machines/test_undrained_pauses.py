"""A pause where batches follow markers: it waits for those on their way, and nothing follows it."""

from __future__ import annotations

import pytest

from dni_async import LinkError
from dni_async.decisions.actions import (
    Action,
    Announce,
    Arrived,
    Batch,
    CheckpointDue,
    Credited,
    Cut,
    Drained,
    HoldDue,
    HoldOver,
    LinkRemade,
    LowerMarker,
    Mark,
    MarkerReturned,
    Pause,
    RaiseCut,
    RaiseMarker,
    Save,
    TellPaused,
    Turn,
)
from dni_async.decisions.machines.markers import END
from dni_async.decisions.machines.position import Position
from dni_async.decisions.machines.undrained import UndrainedMachine
from dni_async.decisions.rules import AnchorRule
from dni_async.decisions.schedule import plan_work

TRAINED, TESTED = Mark("trained", 1, 2), Mark("evaluated", 1, 3)
AT_3 = Pause("pause", 2, 3, 0)
BEFORE_END = Pause("pause", 0)


def machine_of(stage: int, next_batch_id: int = 0) -> UndrainedMachine:
    """Of three stages; two epochs of two training batches and a test batch."""
    return UndrainedMachine(
        position=Position(stage, 3),
        window=4,
        rule=AnchorRule(0),
        work=None if stage else plan_work(2, 2, 1),
        next_batch_id=next_batch_id,
    )


def take_turns(machine: UndrainedMachine) -> list[Action]:
    """All that it does unasked."""
    actions = []
    while machine.has_turn:
        actions += machine.handle(Turn())
    return actions


def markers(actions: list[Action]) -> list[Mark]:
    """Those that go up."""
    return [action.mark for action in actions if isinstance(action, RaiseMarker)]


def test_the_source_pauses_when_all_markers_are_back_and_nothing_follows() -> None:
    source = machine_of(0)
    source.handle(HoldDue(1, 2))
    assert markers(take_turns(source)) == [TRAINED, TESTED]
    assert source.upcoming is None
    for batch_id in (0, 1, 2):
        source.handle(Credited(batch_id))
    source.handle(MarkerReturned(TRAINED))
    assert not source.has_turn
    source.handle(MarkerReturned(TESTED))
    assert take_turns(source) == [RaiseMarker(AT_3)]
    expected = [Announce(AT_3), Save(Cut(3, 2, 0)), TellPaused(1, AT_3)]
    assert source.handle(MarkerReturned(AT_3)) == expected
    source.handle(CheckpointDue())  # the same one
    assert (source.is_holding, source.has_turn, source.upcoming) == (True, False, None)
    source.handle(HoldOver(1))
    assert source.upcoming == Batch(3, "train", False, 2, 0)
    source.handle(Turn())
    assert source.handle(Turn()) == [RaiseCut(Cut(4, 2, 1)), Save(Cut(4, 2, 1))]


def test_a_stage_saves_when_it_is_back_and_lets_nothing_past_it() -> None:
    machine = machine_of(1)
    machine.handle(Arrived(AT_3))
    with pytest.raises(LinkError, match="past a marker"):
        machine.handle(Arrived(Batch(3, "train")))
    assert take_turns(machine) == [RaiseMarker(AT_3)]
    with pytest.raises(LinkError, match="past a marker"):
        machine.handle(Arrived(Batch(3, "train")))
    expected = [Announce(AT_3), LowerMarker(AT_3), Save(Cut(3, 2, 0))]
    assert machine.handle(MarkerReturned(AT_3)) == expected
    machine.handle(Arrived(Batch(3, "train")))


def test_a_pause_that_was_to_be_raised_next_is_before_the_end_when_the_run_is_to_end() -> None:
    source = machine_of(0)
    source.handle(HoldDue(1, 1))
    source.handle(Turn())
    assert source.has_turn  # the pause is next
    source.handle(Drained())
    source.handle(Credited(0))
    assert take_turns(source) == [RaiseMarker(BEFORE_END)]
    assert source.handle(MarkerReturned(BEFORE_END))[-1] == TellPaused(1, BEFORE_END)
    source.handle(HoldOver(1))
    assert take_turns(source) == [RaiseMarker(END)]


def test_a_new_source_raises_the_pause_of_the_one_before_it() -> None:
    source = machine_of(0, next_batch_id=3)
    source.handle(HoldDue(1, 0, is_over=True))
    assert take_turns(source) == [RaiseMarker(TRAINED), RaiseMarker(TESTED)]
    source.handle(MarkerReturned(TRAINED))
    source.handle(MarkerReturned(TESTED))
    assert take_turns(source) == [RaiseMarker(AT_3)]
    assert source.handle(MarkerReturned(AT_3)) == [Announce(AT_3), Save(Cut(3, 2, 0))]
    assert source.upcoming == Batch(3, "train", False, 2, 0)


def test_one_that_comes_again_is_answered_once_it_is_back_and_saved_once() -> None:
    machine = machine_of(1)
    machine.handle(Arrived(AT_3))
    take_turns(machine)
    machine.handle(LinkRemade("below"))
    for known in (TRAINED, TESTED):
        assert machine.handle(Arrived(known)) == [LowerMarker(known)]
    assert machine.handle(Arrived(AT_3)) == []
    expected = [Announce(AT_3), LowerMarker(AT_3), Save(Cut(3, 2, 0))]
    assert machine.handle(MarkerReturned(AT_3)) == expected
    machine.handle(LinkRemade("below"))
    assert machine.handle(Arrived(AT_3)) == [LowerMarker(AT_3)]
    assert machine.handle(LinkRemade("above")) == []
