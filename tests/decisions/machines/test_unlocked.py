"""Stages that predict their inputs: exact actions in either order of events, and whole lines."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async import LinkError
from dni_async.decisions.actions import (
    Action,
    Announce,
    Arrived,
    Batch,
    CarryBack,
    Credited,
    Drained,
    Evaluate,
    Event,
    Finish,
    Forget,
    Forward,
    GiveCredit,
    Idle,
    Item,
    Learn,
    LearnInput,
    Load,
    LowerMarker,
    Mark,
    MarkerReturned,
    RaiseMarker,
    Returned,
    ReturnGradient,
    Send,
    SynthesizeInput,
    Turn,
    Update,
)
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.machines.unlocked import UnlockedMachine
from dni_async.decisions.rules import AnchorRule, BootstrapRule, NoBackpropRule, Rule
from dni_async.decisions.schedule import plan_work
from tests.decisions.line import Line
from tests.decisions.test_line import (
    EPOCHS,
    EVALUATE_BATCHES,
    TRAIN_BATCHES,
    assert_complete,
    assert_no_overlap,
)

ANCHOR, PLAIN, THIRD = (Batch(index, "train", index == 0, 1, index) for index in range(3))
TEST = Batch(3, "evaluate", epoch=1, index=0)
TRAINED, EVALUATED, STOP = Mark("trained", 1), Mark("evaluated", 1), Mark("stop", 1)
EARLY = Mark("stop", 0)
WORK: list[Item] = [ANCHOR, PLAIN, THIRD, TRAINED, TEST, EVALUATED, STOP]
Step = tuple[Event, list[Action]]


def make(place: str, rule: Rule, window: int = 2) -> UnlockedMachine:
    """A machine at this place of a line of three, with one epoch of three batches to do."""
    stage = {"middle": 1, "head": 2}[place]
    return UnlockedMachine(position=Position(stage, 3), window=window, rule=rule, work=iter(WORK))


def arrives(batch_id: int) -> Arrived:
    """The stage below sent the activation of a training batch."""
    return Arrived(Batch(batch_id, "train", anchor=batch_id == 0))


def begin(batch: Batch, *, returns: bool, keeps_inputs: bool = False) -> list[Action]:
    """The stage takes a training batch up by itself."""
    forward = Forward(
        batch.batch_id, keeps_graph=True, returns_gradient=returns, keeps_inputs=keeps_inputs
    )
    return [Load(batch), SynthesizeInput(batch.batch_id), forward]


def middle(batch: Batch) -> list[Action]:
    """With bootstrapped targets, before the activation from below is there."""
    return [*begin(batch, returns=True), Send(batch), Update(batch.batch_id, "synthetic")]


def anchor_middle(batch: Batch) -> list[Action]:
    """With anchors, before the activation from below is there."""
    begun = begin(batch, returns=False, keeps_inputs=batch.anchor)
    return [*begun, Send(batch), Update(batch.batch_id, "synthetic")]


def head(batch: Batch) -> list[Action]:
    """With bootstrapped targets, before the activation from below is there."""
    return [*begin(batch, returns=True), Update(batch.batch_id, "loss")]


BOOTSTRAP_MIDDLE: list[Step] = [
    (Turn(), middle(ANCHOR)),  # nothing has come from below
    (Turn(), middle(PLAIN)),
    (Turn(), []),  # a window ahead
    (Returned(0), [Learn(0)]),  # above is done, but the place below is not even taken yet
    (Turn(), []),  # so the batch is still open
    (arrives(0), [LearnInput(0), ReturnGradient(0), Forget(0)]),
    (arrives(1), [LearnInput(1), ReturnGradient(1)]),  # the other way round
    (arrives(2), []),  # before its turn: kept
    (Turn(), [*middle(THIRD), LearnInput(2), ReturnGradient(2)]),
    (Returned(1), [Learn(1), Forget(1)]),
    (Turn(), []),  # the plan has a marker next, which must come from below
    (Arrived(TRAINED), []),
    (Turn(), [RaiseMarker(TRAINED)]),
    (Returned(2), [Learn(2), Forget(2)]),
    (MarkerReturned(TRAINED), [Announce(TRAINED), LowerMarker(TRAINED)]),
    (Arrived(Batch(3, "evaluate")), []),
    (Turn(), [Evaluate(3), Send(Batch(3, "evaluate")), GiveCredit((3,))]),
    (Arrived(EVALUATED), []),
    (Turn(), [RaiseMarker(EVALUATED)]),
    (Credited(3), [Forget(3)]),
    (MarkerReturned(EVALUATED), [Announce(EVALUATED), LowerMarker(EVALUATED)]),
    (Arrived(STOP), []),
    (Turn(), [RaiseMarker(STOP)]),
    (MarkerReturned(STOP), [Announce(STOP), LowerMarker(STOP), Finish()]),
]
BOOTSTRAP_HEAD: list[Step] = [
    (Turn(), head(ANCHOR)),
    (Turn(), head(PLAIN)),
    (Turn(), []),  # a window ahead
    (arrives(0), [LearnInput(0), ReturnGradient(0), Forget(0)]),
    (Turn(), head(THIRD)),
    (arrives(1), [LearnInput(1), ReturnGradient(1), Forget(1)]),
    (arrives(2), [LearnInput(2), ReturnGradient(2), Forget(2)]),
    (Arrived(TRAINED), []),
    (Turn(), [Announce(TRAINED), LowerMarker(TRAINED)]),
    (Arrived(Batch(3, "evaluate")), []),
    (Turn(), [Evaluate(3), GiveCredit((3,)), Forget(3)]),
]
ANCHOR_MIDDLE: list[Step] = [
    (Turn(), anchor_middle(ANCHOR)),
    (Turn(), anchor_middle(PLAIN)),
    (Credited(1), []),
    (Returned(0), [CarryBack(0), Learn(0)]),  # carried at once, sent down later
    (arrives(0), [LearnInput(0), ReturnGradient(0), Forget(0)]),
    (arrives(1), [LearnInput(1), GiveCredit((1,)), Forget(1)]),
    (arrives(2), []),
    (Turn(), [*anchor_middle(THIRD), LearnInput(2), GiveCredit((2,))]),
    (Credited(2), [Forget(2)]),
]
ANCHOR_MIDDLE_BEHIND: list[Step] = [
    (arrives(0), []),
    (arrives(1), []),
    (Turn(), [*anchor_middle(ANCHOR), LearnInput(0)]),
    (Idle(), []),  # an anchor's place is not freed before its gradient is back
    (Returned(0), [CarryBack(0), ReturnGradient(0), Learn(0), Forget(0)]),
    (Turn(), [*anchor_middle(PLAIN), LearnInput(1), GiveCredit((1,))]),
    (Credited(1), [Forget(1)]),
]
UPDATING_MIDDLE: list[Step] = [
    (
        Turn(),
        [
            Load(ANCHOR),
            SynthesizeInput(0),
            Forward(0, keeps_graph=True, returns_gradient=True, is_late=True),
            Send(ANCHOR),
        ],
    ),
    (Returned(0), [Update(0, "returned"), Learn(0)]),
    (arrives(0), [LearnInput(0), ReturnGradient(0), Forget(0)]),
]
ENDED_MIDDLE: list[Step] = [
    (Turn(), middle(ANCHOR)),
    (Turn(), middle(PLAIN)),
    (Returned(0), [Learn(0)]),
    (Arrived(EARLY), []),
    (Turn(), [Forget(0), RaiseMarker(EARLY)]),  # what was ahead never gets its activation
    (Turn(), []),
    (Returned(1), [Learn(1), Forget(1)]),  # the place below was never taken: nothing to free
    (MarkerReturned(EARLY), [Announce(EARLY), LowerMarker(EARLY), Finish()]),
]
ENDED_MIDDLE_BEHIND: list[Step] = [
    (arrives(0), []),
    (Arrived(EARLY), []),
    (Turn(), [*middle(ANCHOR), LearnInput(0), ReturnGradient(0)]),  # what has come is done
    (Turn(), [RaiseMarker(EARLY)]),  # and nothing more
    (Returned(0), [Learn(0), Forget(0)]),
    (MarkerReturned(EARLY), [Announce(EARLY), LowerMarker(EARLY), Finish()]),
]
ENDED_HEAD: list[Step] = [
    (Turn(), head(ANCHOR)),
    (Turn(), head(PLAIN)),
    (arrives(0), [LearnInput(0), ReturnGradient(0), Forget(0)]),
    (Arrived(EARLY), []),
    (Turn(), [Forget(1), Announce(EARLY), LowerMarker(EARLY), Finish()]),
]


@pytest.mark.parametrize(
    ("place", "rule", "steps"),
    [
        ("middle", BootstrapRule(), BOOTSTRAP_MIDDLE),
        ("head", BootstrapRule(), BOOTSTRAP_HEAD),
        ("middle", AnchorRule(8), ANCHOR_MIDDLE),
        ("middle", AnchorRule(8), ANCHOR_MIDDLE_BEHIND),
        ("middle", AnchorRule(8, updates=True), UPDATING_MIDDLE),
        ("middle", BootstrapRule(), ENDED_MIDDLE),
        ("middle", BootstrapRule(), ENDED_MIDDLE_BEHIND),
        ("head", BootstrapRule(), ENDED_HEAD),
    ],
    ids=[
        "bootstrap middle", "bootstrap head", "anchor middle", "anchor middle behind",
        "updating anchor", "ended middle", "ended middle behind", "ended head",
    ],
)  # fmt: skip
def test_events_give_exactly_these_actions(place: str, rule: Rule, steps: list[Step]) -> None:
    machine = make(place, rule)
    for number, (event, actions) in enumerate(steps):
        has_turn = machine.has_turn
        assert machine.handle(event) == actions, f"number {number}: {event}"
        if isinstance(event, Turn):
            assert has_turn == bool(actions), f"number {number}: {event}"
    finished = any(isinstance(action, Finish) for _, actions in steps for action in actions)
    assert machine.finished == finished


@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("place", ["middle", "head"])
def test_with_nothing_from_below_a_stage_gets_a_window_ahead_and_no_more(
    place: str, window: int
) -> None:
    work = plan_work(1, train_batches=20, evaluate_batches=0)
    stage = {"middle": 1, "head": 2}[place]
    machine = UnlockedMachine(
        position=Position(stage, 3), window=window, rule=BootstrapRule(), work=work
    )
    done = 0
    while machine.has_turn:
        actions = machine.handle(Turn())
        done += sum(isinstance(action, Update) for action in actions)
        if place == "middle":
            machine.handle(Returned(done - 1))  # above is as fast as can be
    assert done == window
    machine.handle(arrives(0))
    assert machine.handle(Turn())
    assert not machine.has_turn


def test_what_may_be_loaded_ahead_is_the_next_batch_of_the_plan() -> None:
    machine = make("middle", BootstrapRule(), window=1)
    assert machine.upcoming == ANCHOR
    machine.handle(Turn())
    assert machine.upcoming == PLAIN  # though there is no room for it yet
    machine = make("middle", BootstrapRule())
    machine.handle(Arrived(EARLY))
    assert machine.upcoming is None


def test_it_is_the_place_above_that_blocks_only_if_that_is_taken() -> None:
    machine = make("middle", BootstrapRule(), window=1)
    machine.handle(Turn())
    assert machine.is_blocked
    machine.handle(Returned(0))
    assert not machine.has_turn  # what is missing comes from below
    assert not machine.is_blocked


@pytest.mark.parametrize(
    ("before", "event", "message"),
    [
        ([arrives(0), arrives(1)], arrives(2), "stage 0 sent batch 2 into a window of 2"),
        ([arrives(0)], arrives(0), "stage 0 sent batch 0 into a window of 2"),
        ([Turn(), arrives(0)], arrives(0), "stage 0 sent batch 0, which is done"),
        ([Turn(), arrives(0), Returned(0)], arrives(0), "stage 0 sent batch 0, which is done"),
        ([Turn(), Returned(0)], Returned(0), "stage 2 released batch 0, which is not in flight"),
        ([], Returned(0), "stage 2 released batch 0, which is not in flight"),
        ([Arrived(TRAINED)], Turn(), "stage 0 sent Mark.* where Batch.batch_id=0, .* is due"),
        ([Turn(), Turn(), arrives(0), Returned(0), Turn(), arrives(1), Arrived(TRAINED)], Turn(),
         "stage 0 sent Mark.* where batch 2 is due"),
        ([Arrived(TRAINED)], arrives(0), "past a marker that has yet to come back"),
        ([Turn(), Arrived(EARLY), Turn()], MarkerReturned(EARLY), "1 batches were in flight"),
        ([], Drained(), "stage 1 is not the source"),
    ],
)  # fmt: skip
def test_a_neighbour_that_breaks_the_rules_is_a_link_error(
    before: Sequence[Event], event: Event, message: str
) -> None:
    machine = make("middle", BootstrapRule())
    for each in before:
        machine.handle(each)
    with pytest.raises(LinkError, match=message):
        machine.handle(event)


class UnlockedLine(Line):
    """Every stage above the source takes up its batches by itself."""

    def make_machine(
        self,
        stage: int,
        num_stages: int,
        window: int,
        rule: Rule,
        work: list[Item],
        next_batch_id: int = 0,
    ) -> StageMachine:
        """One stage's decisions; all know the order of work."""
        if stage == 0:
            return super().make_machine(stage, num_stages, window, rule, work)
        return UnlockedMachine(
            position=Position(stage, num_stages), window=window, rule=rule, work=iter(work)
        )

    def receive(self, stage: int, batch: Batch) -> None:
        """A training batch's activation is but a target; see perform for its samples."""
        if batch.purpose == "evaluate":
            super().receive(stage, batch)

    def perform(self, stage: int, action: Action) -> None:
        """As ever, but for what is loaded."""
        match action:
            case Load(batch):
                assert batch.batch_id not in self.kept[stage]
                self.kept[stage].add(batch.batch_id)
                assert len(self.kept[stage]) <= self.window
            case SynthesizeInput(batch_id) | LearnInput(batch_id):
                assert batch_id in self.kept[stage]
            case _:
                super().perform(stage, action)

    def actions_of(self, stage: int) -> list[Action]:
        """What one stage did."""
        return [action for where, action in self.trace if where == stage]


RULES = {"bootstrap": BootstrapRule(), "anchor 1": AnchorRule(1), "anchor 4": AnchorRule(4),
         "updating anchors": AnchorRule(4, updates=True), "no anchors": AnchorRule(0),
         "control": NoBackpropRule()}  # fmt: skip
lines = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
windows = pytest.mark.parametrize("window", [1, 2, 8])
lengths = pytest.mark.parametrize("num_stages", [2, 3, 5])


@lines
@windows
@lengths
@settings(deadline=None, max_examples=8, database=None)
@given(seed=st.integers(0, 2**32))
def test_a_line_at_any_speed_finishes_with_every_batch_done_once_at_every_stage(
    num_stages: int, window: int, rule: Rule, seed: int
) -> None:
    plan = plan_work(EPOCHS, TRAIN_BATCHES, EVALUATE_BATCHES, anchor_every=rule.anchor_every)
    work = list(plan)
    line = UnlockedLine(num_stages, window, rule, work)
    line.run(random.Random(seed))

    batches = [item for item in work if isinstance(item, Batch)]
    train_ids = [batch.batch_id for batch in batches if batch.purpose == "train"]
    for stage, machine in enumerate(line.machines):
        assert machine.finished
        assert machine.pending == 0
        assert machine.max_pending <= window
        assert not line.kept[stage]
        actions = line.actions_of(stage)
        assert_complete(actions, work, rule, is_head=stage == num_stages - 1)
        learnt = [action.batch_id for action in actions if isinstance(action, LearnInput)]
        assert learnt == (train_ids if stage else [])
    assert_no_overlap(line, work)


@lines
@windows
@lengths
@settings(deadline=None, max_examples=8, database=None)
@given(seed=st.integers(0, 2**32), after=st.integers(0, 120))
def test_a_line_whose_source_is_drained_finishes_and_gives_up_what_was_ahead(
    num_stages: int, window: int, rule: Rule, seed: int, after: int
) -> None:
    work = list(plan_work(EPOCHS, TRAIN_BATCHES, 1, anchor_every=rule.anchor_every))
    line = UnlockedLine(num_stages, window, rule, work)
    draw = random.Random(seed)
    for _ in range(after):
        if possible := line.choices():
            line.step(*draw.choice(possible))
    line.machines[0].handle(Drained())
    line.run(draw)

    sent: list[int] = []
    for stage, machine in enumerate(line.machines):
        assert machine.finished
        assert machine.pending == 0
        assert not line.kept[stage]
        actions = line.actions_of(stage)
        done = [action.batch_id for action in actions if isinstance(action, Forward)]
        assert [a.batch_id for a in actions if isinstance(a, LearnInput)] == sent
        assert done[: len(sent)] == sent
        assert len(done) - len(sent) <= window or stage == 0
        freed = [a.batch_id for a in actions if isinstance(a, ReturnGradient)]
        for action in actions:
            freed += action.batch_ids if isinstance(action, GiveCredit) else ()
        assert len(set(freed)) == len(freed)
        assert set(sent) <= set(freed)
        sent = done
