"""A pause: a marker before a training batch, behind which the source waits to be told to go on."""

from __future__ import annotations

from collections.abc import Iterator

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
    Item,
    LinkRemade,
    LowerMarker,
    Mark,
    MarkerReturned,
    Pause,
    RaiseCut,
    RaiseMarker,
    Save,
    Send,
    TellPaused,
    Turn,
)
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.rules import AnchorRule
from dni_async.decisions.schedule import plan_work

AT_2 = Pause("pause", 1, 2, 2)
CUT_2 = Cut(2, 1, 2)
STOP = Mark("stop", 0)


def source(work: Iterator[Item] | None = None, *, next_batch_id: int = 0) -> StageMachine:
    """Stage 0 of two; two epochs of four training batches and a test batch."""
    return StageMachine(
        position=Position(0, 2),
        window=4,
        rule=AnchorRule(0),
        work=plan_work(2, 4, 1) if work is None else work,
        next_batch_id=next_batch_id,
    )


def sent(actions: list[Action]) -> list[int]:
    """The batches that go up."""
    return [action.batch.batch_id for action in actions if isinstance(action, Send)]


def test_the_source_holds_where_nothing_is_in_flight_and_goes_on_when_it_is_told() -> None:
    machine = source()
    assert machine.handle(HoldDue(1, 2)) == []
    assert sent(machine.handle(Turn())) == [0]
    assert sent(machine.handle(Turn())) == [1]
    assert machine.handle(Turn()) == [RaiseMarker(AT_2)]
    assert not machine.has_turn  # the batch behind it waits for it to come back
    machine.handle(Credited(0))
    machine.handle(Credited(1))
    assert machine.handle(MarkerReturned(AT_2)) == [
        Announce(AT_2),
        Save(CUT_2),
        TellPaused(1, AT_2),
    ]
    assert machine.is_holding
    assert not machine.has_turn
    assert machine.upcoming is None
    assert machine.handle(HoldOver(1)) == []
    assert sent(machine.handle(Turn())) == [2]


def test_one_that_is_not_needed_any_more_is_not_raised() -> None:
    machine = source()
    machine.handle(HoldDue(1, 0))
    machine.handle(HoldOver(1))
    assert sent(machine.handle(Turn())) == [0]


def test_one_on_its_way_that_is_not_needed_holds_nobody_up() -> None:
    machine = source()
    machine.handle(HoldDue(1, 0))
    machine.handle(Turn())
    machine.handle(HoldOver(1))
    at_0 = Pause("pause", 1, 0, 0)
    assert machine.handle(MarkerReturned(at_0)) == [Announce(at_0), Save(Cut(0, 1, 0))]
    assert sent(machine.handle(Turn())) == [0]


def test_the_next_one_is_known_before_the_line_goes_on() -> None:
    machine = source()
    machine.handle(HoldDue(1, 0))
    machine.handle(Turn())
    machine.handle(MarkerReturned(Pause("pause", 1, 0, 0)))
    machine.handle(HoldDue(2, 1))
    assert machine.is_holding
    machine.handle(HoldOver(1))
    assert sent(machine.handle(Turn())) == [0]
    assert machine.handle(Turn()) == [RaiseMarker(Pause("pause", 1, 1, 1))]


def test_what_is_saved_at_a_pause_is_not_saved_again_behind_it() -> None:
    """A checkpoint that is due there anyway is the same one; what comes later is another."""
    machine = source(plan_work(2, 4, 1, cut_every=2))
    machine.handle(HoldDue(1, 2))
    machine.handle(Turn())
    machine.handle(Turn())
    assert machine.handle(Turn()) == [RaiseMarker(AT_2)]
    machine.handle(Credited(0))
    machine.handle(Credited(1))
    machine.handle(MarkerReturned(AT_2))
    machine.handle(CheckpointDue())
    machine.handle(HoldOver(1))
    assert sent(machine.handle(Turn())) == [2]
    assert machine.handle(Turn()) == [RaiseCut(Cut(3, 1, 3)), Save(Cut(3, 1, 3))]


def test_behind_a_cut_a_pause_waits_for_the_next_batch() -> None:
    machine = source()
    machine.handle(CheckpointDue())
    assert machine.handle(Turn()) == [RaiseCut(Cut(0, 1, 0)), Save(Cut(0, 1, 0))]
    machine.handle(HoldDue(1, 0))
    assert sent(machine.handle(Turn())) == [0]
    assert machine.handle(Turn()) == [RaiseMarker(Pause("pause", 1, 1, 1))]


def test_before_the_end_nothing_is_saved_but_nobody_leaves_unasked() -> None:
    machine = source()
    machine.handle(HoldDue(1, 0))
    machine.handle(Drained())
    before_end = Pause("pause", 0)
    assert machine.handle(Turn()) == [RaiseMarker(before_end)]
    told = [Announce(before_end), TellPaused(1, before_end)]
    assert machine.handle(MarkerReturned(before_end)) == told
    assert not machine.has_turn
    machine.handle(HoldOver(1))
    assert machine.handle(Turn()) == [RaiseMarker(STOP)]


def test_a_new_source_raises_what_the_one_before_it_may_have_on_its_way() -> None:
    machine = source(next_batch_id=2)
    machine.handle(HoldDue(1, 0, is_over=True))
    assert machine.handle(Turn()) == [RaiseMarker(AT_2)]
    assert machine.handle(MarkerReturned(AT_2)) == [Announce(AT_2), Save(CUT_2)]
    assert sent(machine.handle(Turn())) == [2]


def test_a_stage_above_answers_a_pause_that_comes_again_and_saves_once() -> None:
    machine = StageMachine(position=Position(1, 3), window=4, rule=AnchorRule(0))
    machine.handle(Arrived(AT_2))
    assert machine.handle(Turn()) == [RaiseMarker(AT_2)]
    machine.handle(LinkRemade("below"))
    assert machine.handle(Arrived(AT_2)) == []
    expected = [Announce(AT_2), LowerMarker(AT_2), Save(CUT_2)]
    assert machine.handle(MarkerReturned(AT_2)) == expected
    machine.handle(LinkRemade("below"))
    assert machine.handle(Arrived(AT_2)) == [LowerMarker(AT_2)]


def test_a_pause_is_that_of_its_place() -> None:
    assert Pause.before(Batch(7, "train", epoch=2, index=3)) == Pause("pause", 2, 7, 3)
    assert Pause("pause", 2, 7, 3) != Pause("pause", 2, 8, 4)
