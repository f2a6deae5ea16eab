"""A stage machine: this event gives exactly these actions, whatever the neighbours do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dni_async import LinkError
from dni_async.decisions.actions import (
    Action,
    Announce,
    Arrived,
    Batch,
    CarryBack,
    Credited,
    Cut,
    Drained,
    Evaluate,
    Event,
    Finish,
    Forget,
    Forward,
    GiveCredit,
    Idle,
    Learn,
    Load,
    LowerMarker,
    Mark,
    MarkerReturned,
    RaiseMarker,
    Returned,
    ReturnGradient,
    Send,
    Turn,
    Update,
    WindowSet,
)
from dni_async.decisions.machines.cuts import MAX_CUTS
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.rules import (
    AnchorRule,
    BackpropRule,
    BootstrapRule,
    Rule,
)
from dni_async.wire.messages import MAX_CREDITS

TRAINED, EVALUATED, STOP = Mark("trained", 1), Mark("evaluated", 1), Mark("stop", 1)
ANCHOR, PLAIN = Batch(0, "train", anchor=True, epoch=1, index=0), Batch(1, "train", False, 1, 1)
TEST = Batch(2, "evaluate", epoch=1, index=0)
WORK = [ANCHOR, PLAIN, TRAINED, TEST, EVALUATED, STOP]
Step = tuple[Event, list[Action]]


def train(batch_id: int) -> Batch:
    """A training batch as stages above the source see it."""
    return Batch(batch_id, "train")


def for_test(batch_id: int) -> Batch:
    """A test batch as stages above the source see it."""
    return Batch(batch_id, "evaluate")


def arrives(batch_id: int) -> Arrived:
    """The stage below sent a training batch."""
    return Arrived(train(batch_id))


def forward(batch_id: int, *, returns: bool) -> Forward:
    """A forward that an update follows before any other."""
    return Forward(batch_id, keeps_graph=True, returns_gradient=returns)


def waiting(batch_id: int, *, returns: bool) -> Forward:
    """One whose graph waits for a late gradient."""
    return Forward(batch_id, keeps_graph=True, returns_gradient=returns, is_late=True)


def make(place: str, rule: Rule, window: int = 2) -> StageMachine:
    """A machine at this place of a line of three; the source's work is one small epoch."""
    stage, num_stages = {"source": (0, 3), "middle": (1, 3), "head": (2, 3), "alone": (0, 1)}[place]
    work = iter(WORK) if stage == 0 else None
    return StageMachine(position=Position(stage, num_stages), window=window, rule=rule, work=work)


def test_a_window_that_is_set_holds_from_the_next_turn_on() -> None:
    rule = BootstrapRule()
    machine = StageMachine(position=Position(1, 3), window=4, first_window=1, rule=rule)
    for batch_id in range(4):
        machine.handle(arrives(batch_id))  # the link below has all four places
    taken_up = []

    def turns() -> int:
        while machine.has_turn:
            taken_up.extend(a for a in machine.handle(Turn()) if isinstance(a, Send))
        return machine.pending

    assert turns() == 1
    assert machine.is_blocked
    assert machine.handle(WindowSet(3)) == []
    assert turns() == 3
    machine.handle(WindowSet(1))
    machine.handle(Returned(0))
    machine.handle(Returned(1))
    assert turns() == 1  # the third is still in flight
    machine.handle(Returned(2))
    machine.handle(WindowSet(9))
    assert machine.window == machine.places == 4
    machine.handle(WindowSet(0))
    assert machine.window == 1


BOOTSTRAP_SOURCE: list[Step] = [
    (Turn(), [Load(ANCHOR), forward(0, returns=False), Send(ANCHOR), Update(0, "synthetic")]),
    (Turn(), [Load(PLAIN), forward(1, returns=False), Send(PLAIN), Update(1, "synthetic")]),
    (Turn(), [RaiseMarker(TRAINED)]),
    (Turn(), []),  # nothing past a marker until it is back
    (Returned(0), [Learn(0), Forget(0)]),
    (Returned(1), [Learn(1), Forget(1)]),
    (Turn(), []),
    (MarkerReturned(TRAINED), [Announce(TRAINED)]),
    (Turn(), [Load(TEST), Evaluate(2), Send(TEST)]),
    (Turn(), [RaiseMarker(EVALUATED)]),
    (Credited(2), [Forget(2)]),
    (MarkerReturned(EVALUATED), [Announce(EVALUATED)]),
    (Turn(), [RaiseMarker(STOP)]),
    (MarkerReturned(STOP), [Announce(STOP), Finish()]),
    (Turn(), []),
]


def bootstrap_middle(batch_id: int) -> list[Action]:
    """A middle stage takes up a training batch."""
    synthetic = Update(batch_id, "synthetic")
    sent = Send(train(batch_id))
    return [forward(batch_id, returns=True), sent, synthetic, ReturnGradient(batch_id)]


BOOTSTRAP_MIDDLE: list[Step] = [
    (Turn(), []),
    (arrives(0), []),
    (arrives(1), []),
    (Turn(), bootstrap_middle(0)),
    (Turn(), bootstrap_middle(1)),
    (arrives(2), []),
    (Turn(), []),  # the window is full
    (Returned(1), [Learn(1), Forget(1)]),
    (Turn(), bootstrap_middle(2)),
    (Credited(0), [Forget(0)]),
    (Arrived(TRAINED), []),
    (Turn(), [RaiseMarker(TRAINED)]),
    (Returned(2), [Learn(2), Forget(2)]),
    (MarkerReturned(TRAINED), [Announce(TRAINED), LowerMarker(TRAINED)]),
    (Arrived(for_test(3)), []),
    (Turn(), [Evaluate(3), Send(for_test(3)), GiveCredit((3,))]),
    (Credited(3), [Forget(3)]),
    (Arrived(STOP), []),
    (Turn(), [RaiseMarker(STOP)]),
    (MarkerReturned(STOP), [Announce(STOP), LowerMarker(STOP), Finish()]),
]


def returning_head(batch_id: int) -> list[Action]:
    """A head takes up a training batch whose gradient goes down."""
    updated = Update(batch_id, "loss")
    return [
        forward(batch_id, returns=True),
        updated,
        ReturnGradient(batch_id),
        Forget(batch_id),
    ]


BOOTSTRAP_HEAD: list[Step] = [
    (arrives(0), []),
    (arrives(1), []),
    (Turn(), returning_head(0)),
    (arrives(2), []),
    (Turn(), returning_head(1)),
    (Turn(), returning_head(2)),
    (Turn(), []),
    (Arrived(TRAINED), []),
    (Turn(), [Announce(TRAINED), LowerMarker(TRAINED)]),
    (Arrived(for_test(3)), []),
    (Turn(), [Evaluate(3), GiveCredit((3,)), Forget(3)]),
    (Arrived(STOP), []),
    (Turn(), [Announce(STOP), LowerMarker(STOP), Finish()]),
]
BACKPROP_SOURCE: list[Step] = [
    (Turn(), [Load(ANCHOR), forward(0, returns=False), Send(ANCHOR)]),
    (Turn(), []),  # lockstep, whatever window was asked for
    (Returned(0), [Update(0, "returned"), Forget(0)]),
    (Turn(), [Load(PLAIN), forward(1, returns=False), Send(PLAIN)]),
    (Returned(1), [Update(1, "returned"), Forget(1)]),
    (Turn(), [RaiseMarker(TRAINED)]),
    (MarkerReturned(TRAINED), [Announce(TRAINED)]),
    (Turn(), [Load(TEST), Evaluate(2), Send(TEST)]),
    (Credited(2), [Forget(2)]),
]
BACKPROP_MIDDLE: list[Step] = [
    (arrives(0), []),
    (Turn(), [forward(0, returns=True), Send(train(0))]),
    (Returned(0), [Update(0, "returned"), ReturnGradient(0), Forget(0)]),
    (arrives(1), []),
    (Turn(), [forward(1, returns=True), Send(train(1))]),
    (Turn(), []),
]
BACKPROP_HEAD: list[Step] = [
    (arrives(0), []),
    (Turn(), returning_head(0)),
    (Arrived(for_test(1)), []),
    (Turn(), [Evaluate(1), GiveCredit((1,)), Forget(1)]),
]
UPDATING_SOURCE: list[Step] = [
    (Turn(), [Load(ANCHOR), waiting(0, returns=False), Send(ANCHOR)]),
    (Turn(), [Load(PLAIN), forward(1, returns=False), Send(PLAIN), Update(1, "synthetic")]),
    (Credited(1), [Forget(1)]),
    (Turn(), [RaiseMarker(TRAINED)]),
    (Returned(0), [Update(0, "returned"), Learn(0), Forget(0)]),
    (MarkerReturned(TRAINED), [Announce(TRAINED)]),
]
UPDATING_MIDDLE: list[Step] = [
    (Arrived(ANCHOR), []),
    (arrives(1), []),
    (Turn(), [waiting(0, returns=True), Send(ANCHOR)]),
    (
        Turn(),
        [forward(1, returns=False), Send(train(1)), Update(1, "synthetic"), GiveCredit((1,))],
    ),
    (arrives(2), []),  # the anchor keeps its place below, the other has given its back
    (Turn(), []),  # the window above is full
    (Credited(1), [Forget(1)]),
    (
        Turn(),
        [forward(2, returns=False), Send(train(2)), Update(2, "synthetic"), GiveCredit((2,))],
    ),
    (Returned(0), [Update(0, "returned"), ReturnGradient(0), Learn(0), Forget(0)]),
]
ANCHOR_SOURCE: list[Step] = [
    (Turn(), [Load(ANCHOR), forward(0, returns=False), Send(ANCHOR), Update(0, "synthetic")]),
    (Turn(), [Load(PLAIN), forward(1, returns=False), Send(PLAIN), Update(1, "synthetic")]),
    (Credited(1), [Forget(1)]),
    (Turn(), [RaiseMarker(TRAINED)]),
    (Returned(0), [Learn(0), Forget(0)]),
    (MarkerReturned(TRAINED), [Announce(TRAINED)]),
]
FOR_LATER = Forward(0, keeps_graph=True, returns_gradient=False, keeps_inputs=True)
ANCHOR_MIDDLE: list[Step] = [
    (Arrived(ANCHOR), []),
    (Turn(), [FOR_LATER, Send(ANCHOR), Update(0, "synthetic")]),
    (Idle(), []),  # the anchor keeps its place below
    (Returned(0), [CarryBack(0), ReturnGradient(0), Learn(0), Forget(0)]),
]
ANCHOR_HEAD: list[Step] = [
    (Arrived(ANCHOR), []),
    (arrives(1), []),
    (Turn(), returning_head(0)),
    (Turn(), [forward(1, returns=False), Update(1, "loss"), GiveCredit((1,)), Forget(1)]),
]
ALONE: list[Step] = [
    (Turn(), [Load(ANCHOR), forward(0, returns=False), Update(0, "loss"), Forget(0)]),
    (Turn(), [Load(PLAIN), forward(1, returns=False), Update(1, "loss"), Forget(1)]),
    (Turn(), [Announce(TRAINED)]),
    (Turn(), [Load(TEST), Evaluate(2), Forget(2)]),
    (Turn(), [Announce(EVALUATED)]),
    (Turn(), [Announce(STOP), Finish()]),
    (Turn(), []),
]


@pytest.mark.parametrize(
    ("place", "rule", "steps"),
    [
        ("source", BootstrapRule(), BOOTSTRAP_SOURCE),
        ("middle", BootstrapRule(), BOOTSTRAP_MIDDLE),
        ("head", BootstrapRule(), BOOTSTRAP_HEAD),
        ("alone", BootstrapRule(), ALONE),
        ("source", AnchorRule(8), ANCHOR_SOURCE),
        ("middle", AnchorRule(8), ANCHOR_MIDDLE),
        ("head", AnchorRule(8), ANCHOR_HEAD),
        ("source", AnchorRule(8, updates=True), UPDATING_SOURCE),
        ("middle", AnchorRule(8, updates=True), UPDATING_MIDDLE),
        ("head", AnchorRule(8, updates=True), ANCHOR_HEAD),
        ("alone", AnchorRule(8), ALONE),
        ("source", BackpropRule(), BACKPROP_SOURCE),
        ("middle", BackpropRule(), BACKPROP_MIDDLE),
        ("head", BackpropRule(), BACKPROP_HEAD),
        ("alone", BackpropRule(), ALONE),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_events_give_exactly_these_actions(place: str, rule: Rule, steps: list[Step]) -> None:
    machine = make(place, rule)
    for number, (event, actions) in enumerate(steps):
        has_turn = machine.has_turn
        assert machine.handle(event) == actions, f"step {number}: {event}"
        if isinstance(event, Turn):
            assert has_turn == bool(actions), f"step {number}: {event}"
    finished = any(isinstance(action, Finish) for _, actions in steps for action in actions)
    assert machine.finished == finished


def test_pending_counts_what_is_in_flight() -> None:
    machine = make("source", BootstrapRule())
    counts = [(machine.handle(Turn()), machine.pending)[1] for _ in range(2)]
    counts += [(machine.handle(Returned(batch_id)), machine.pending)[1] for batch_id in (1, 0)]
    assert counts == [1, 2, 1, 0]
    assert machine.max_pending == 2


def given_middle(*events: Event, window: int = 2) -> StageMachine:
    """A middle stage after these events."""
    machine = make("middle", BootstrapRule(), window)
    for event in events:
        machine.handle(event)
    return machine


SENT_0 = (arrives(0), Turn())


@pytest.mark.parametrize(
    ("before", "event", "message"),
    [
        (
            [arrives(0), arrives(1)],
            arrives(2),
            "stage 0 sent batch 2 into a window of 2 of which 2 places are taken",
        ),
        ([arrives(0)], arrives(0), "stage 0 sent batch 0 into a window"),
        ([], Returned(0), "stage 2 released batch 0, which is not in flight"),
        ([arrives(0)], Returned(0), "stage 2 released batch 0"),  # not sent up yet
        (SENT_0, Returned(1), "stage 2 released batch 1"),
        (SENT_0, Credited(1), "stage 2 released batch 1"),
        ([*SENT_0, Returned(0)], Returned(0), "stage 2 released batch 0"),
        ([*SENT_0, Returned(0)], Credited(0), "stage 2 released batch 0"),
        ([*SENT_0, Credited(0)], Returned(0), "stage 2 released batch 0"),
        ([], MarkerReturned(TRAINED), "came back while None was awaited"),
        ([Arrived(TRAINED)], MarkerReturned(TRAINED), "came back while None was awaited"),
        ([Arrived(TRAINED), Turn()], MarkerReturned(STOP), "came back while Mark"),
        ([Arrived(TRAINED), Turn()], MarkerReturned(Mark("trained", 2)), "came back while Mark"),
        (
            [*SENT_0, Arrived(TRAINED), Turn()],
            MarkerReturned(TRAINED),
            "and 1 batches were in flight",
        ),
        ([Arrived(TRAINED)], arrives(0), "past a marker that has yet to come back"),
        ([Arrived(TRAINED), Turn()], arrives(0), "past a marker that has yet to come back"),
        ([Arrived(TRAINED)], Arrived(STOP), "past a marker that has yet to come back"),
        ([Arrived(TRAINED), Turn()], Arrived(TRAINED), "past a marker that has yet to come back"),
    ],
)
def test_a_neighbour_that_breaks_the_rules_is_a_link_error(
    before: Sequence[Event], event: Event, message: str
) -> None:
    machine = given_middle(*before)
    with pytest.raises(LinkError, match=message):
        machine.handle(event)


def test_cuts_do_not_pile_up() -> None:
    """They need no place of the window; a neighbour that floods with them is a broken one."""
    machine = make("middle", BootstrapRule())
    for batch_id in range(MAX_CUTS):
        assert machine.handle(Arrived(Cut(batch_id, 1, batch_id))) == []
    with pytest.raises(LinkError, match="stage 0 sent 256 cuts past one another"):
        machine.handle(Arrived(Cut(MAX_CUTS, 1, MAX_CUTS)))


def test_a_place_that_was_freed_may_be_taken_again() -> None:
    machine = given_middle(arrives(0), arrives(1), Turn())
    assert machine.handle(arrives(2)) == []


def plain_batches(machine: StageMachine, *batch_ids: int) -> list[Action]:
    """What the machine answers to batches that are no anchors."""
    answers: list[Action] = []
    for batch_id in batch_ids:
        machine.handle(arrives(batch_id))
        answers += machine.handle(Turn())
        if machine.has_above:
            machine.handle(Credited(batch_id))
    return answers


def credits(actions: list[Action]) -> list[tuple[int, ...]]:
    """The credits among actions."""
    return [action.batch_ids for action in actions if isinstance(action, GiveCredit)]


def test_only_the_source_knows_what_comes_next_and_not_past_a_marker() -> None:
    machine = make("source", AnchorRule(0))
    assert machine.upcoming == ANCHOR
    machine.handle(Turn())
    assert machine.upcoming == PLAIN
    machine.handle(Turn())
    assert machine.upcoming is None  # a marker is next
    middle = make("middle", AnchorRule(0))
    middle.handle(arrives(0))
    assert middle.upcoming is None


def test_a_source_that_is_drained_finishes_what_is_under_way_and_ends() -> None:
    machine = make("source", AnchorRule(0))
    machine.handle(Turn())
    assert machine.handle(Drained()) == []
    assert machine.handle(Turn()) == [RaiseMarker(Mark("stop", 0))]
    assert machine.handle(Drained()) == []  # once is enough
    assert not machine.has_turn
    assert machine.handle(Credited(0)) == [Forget(0)]
    assert machine.handle(MarkerReturned(Mark("stop", 0))) == [Announce(Mark("stop", 0)), Finish()]


def test_a_marker_under_way_comes_back_before_a_drained_source_ends() -> None:
    machine = make("source", AnchorRule(0))
    for _ in range(2):
        machine.handle(Turn())
    assert machine.handle(Turn()) == [RaiseMarker(TRAINED)]
    machine.handle(Drained())
    assert not machine.has_turn
    for batch_id in (0, 1):
        machine.handle(Credited(batch_id))
    assert machine.handle(MarkerReturned(TRAINED)) == [Announce(TRAINED)]
    assert machine.handle(Turn()) == [RaiseMarker(Mark("stop", 0))]


def test_only_the_source_can_be_drained() -> None:
    with pytest.raises(LinkError, match="stage 1 is not the source"):
        make("middle", AnchorRule(0)).handle(Drained())


@pytest.mark.parametrize("place", ["middle", "head"])
def test_credits_are_given_when_half_a_window_is_owed(place: str) -> None:
    machine = make(place, AnchorRule(0), window=6)
    assert credits(plain_batches(machine, 0, 1)) == []
    assert machine.owes_credits
    assert credits(plain_batches(machine, 2)) == [(0, 1, 2)]
    assert not machine.owes_credits


def test_a_wide_window_owes_no_more_than_a_message_holds() -> None:
    machine = make("head", AnchorRule(0), window=100)
    given = credits(plain_batches(machine, *range(MAX_CREDITS)))
    assert given == [tuple(range(MAX_CREDITS))]


def test_what_is_owed_is_given_before_waiting_and_before_a_marker_goes_down() -> None:
    machine = make("head", AnchorRule(0), window=8)
    plain_batches(machine, 0)
    assert machine.handle(Idle()) == [GiveCredit((0,))]
    assert machine.handle(Idle()) == []
    plain_batches(machine, 1, 2)
    machine.handle(Arrived(TRAINED))
    assert machine.handle(Turn()) == [
        Announce(TRAINED),
        GiveCredit((1, 2)),
        LowerMarker(TRAINED),
    ]


def test_an_owed_place_is_still_taken() -> None:
    machine = make("head", AnchorRule(0), window=4)
    plain_batches(machine, 0)
    for batch_id in (1, 2, 3):
        machine.handle(arrives(batch_id))
    with pytest.raises(LinkError, match="window of 4"):
        machine.handle(arrives(4))
