"""A machine that waits neither for a place in the window nor for an input."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.decisions.actions import (
    Action,
    Announce,
    Arrived,
    Batch,
    Credited,
    Evaluate,
    Event,
    Finish,
    Forget,
    Forward,
    GiveCredit,
    Item,
    Keep,
    Learn,
    Load,
    LowerMarker,
    Mark,
    MarkerReturned,
    RaiseMarker,
    Recall,
    Returned,
    ReturnGradient,
    Send,
    Turn,
    Update,
)
from dni_async.decisions.machines.kept_batches import ReplayBuffer
from dni_async.decisions.machines.position import Position
from dni_async.decisions.machines.uneven import Slack, UnevenMachine
from dni_async.decisions.rules import AnchorRule, BootstrapRule, Rule
from dni_async.decisions.schedule import plan_work
from tests.decisions.line import Line

TRAINED = Mark("trained", 1)
Move = tuple[Event, list[Action]]


def batch(batch_id: int, *, anchor: bool = False) -> Batch:
    """A training batch as stages above the source see it."""
    return Batch(batch_id, "train", anchor)


def learn_alone(batch_id: int, *, returns: bool = False) -> list[Action]:
    """An update with the synthetic gradient, and nothing sent up."""
    return [
        Forward(batch_id, keeps_graph=True, returns_gradient=returns),
        Update(batch_id, "synthetic"),
    ]


def play(machine: UnevenMachine, moves: list[Move]) -> None:
    """Each event must give exactly its actions."""
    for number, (event, expected) in enumerate(moves):
        assert machine.handle(event) == expected, f"move {number}: {event}"


def test_a_full_window_is_passed_over_and_the_stage_learns_on() -> None:
    machine = UnevenMachine(
        position=Position(1, 3), window=1, rule=AnchorRule(4), slack=Slack(skips=True)
    )
    anchor = batch(4, anchor=True)
    forward = Forward(0, keeps_graph=True, returns_gradient=False)
    test = Batch(5, "evaluate")
    play(
        machine,
        [
            (Arrived(batch(0)), []),
            (Turn(), [forward, Send(batch(0)), Update(0, "synthetic"), GiveCredit((0,))]),
            (Arrived(batch(1)), []),
            (Turn(), [*learn_alone(1), GiveCredit((1,)), Forget(1)]),
            (Arrived(anchor), []),
            # Nobody above sees it, so no true gradient will come down: an anchor no more.
            (Turn(), [*learn_alone(4), GiveCredit((4,)), Forget(4)]),
            (Arrived(TRAINED), []),
            (Turn(), [RaiseMarker(TRAINED)]),
            (Credited(0), [Forget(0)]),
            (MarkerReturned(TRAINED), [Announce(TRAINED), LowerMarker(TRAINED)]),
            (Arrived(test), []),
            (Turn(), [Evaluate(5), Send(test), GiveCredit((5,))]),
            (Arrived(Batch(6, "evaluate")), []),
            (Turn(), []),  # a test batch must reach the head: it waits
        ],
    )
    assert machine.skipped == 2
    assert machine.is_blocked


def test_a_skipped_batch_still_gives_the_stage_below_its_lesson() -> None:
    machine = UnevenMachine(
        position=Position(1, 3), window=1, rule=BootstrapRule(), slack=Slack(skips=True)
    )
    machine.handle(Arrived(batch(0)))
    machine.handle(Turn())
    machine.handle(Arrived(batch(1)))
    skipped = [*learn_alone(1, returns=True), ReturnGradient(1), Forget(1)]
    assert machine.handle(Turn()) == skipped


def test_an_anchor_skipped_further_up_gives_its_place_below_back() -> None:
    machine = UnevenMachine(
        position=Position(1, 3), window=2, rule=AnchorRule(1), slack=Slack(skips=True)
    )
    machine.handle(Arrived(batch(0, anchor=True)))
    machine.handle(Turn())
    assert machine.handle(Credited(0)) == [GiveCredit((0,)), Forget(0)]


def test_the_source_skips_and_its_epoch_ends() -> None:
    work = list(plan_work(1, train_batches=3, evaluate_batches=0))
    machine = UnevenMachine(
        position=Position(0, 2),
        window=1,
        rule=AnchorRule(0),
        slack=Slack(skips=True),
        work=iter(work),
    )
    first, second, third = (item for item in work if isinstance(item, Batch))
    forward = Forward(0, keeps_graph=True, returns_gradient=False)
    play(
        machine,
        [
            (Turn(), [Load(first), forward, Send(first), Update(0, "synthetic")]),
            (Turn(), [Load(second), *learn_alone(1), Forget(1)]),
            (Turn(), [Load(third), *learn_alone(2), Forget(2)]),
            (Turn(), [RaiseMarker(TRAINED)]),
            (Turn(), []),
            (Credited(0), [Forget(0)]),
            (MarkerReturned(TRAINED), [Announce(TRAINED)]),
        ],
    )


def test_a_starved_stage_learns_from_what_it_saw_last() -> None:
    machine = UnevenMachine(
        position=Position(1, 3),
        window=4,
        rule=AnchorRule(0),
        slack=Slack(replays=ReplayBuffer(2, 1)),
    )
    sent = [Send(batch(0)), Update(0, "synthetic")]
    forward = Forward(0, keeps_graph=True, returns_gradient=False)
    play(
        machine,
        [
            (Turn(), []),  # nothing seen yet
            (Arrived(batch(0)), []),
            (Turn(), [Keep(0, None), forward, *sent]),
            # What is owed goes down before anything is done that nobody asked for.
            (Turn(), [GiveCredit((0,)), Recall(-1, 0), *learn_alone(-1), Forget(-1)]),
            (Turn(), []),  # once is the limit here
            (Arrived(batch(1)), []),
            (
                Turn(),
                [
                    Keep(1, None),
                    Forward(1, keeps_graph=True, returns_gradient=False),
                    Send(batch(1)),
                    Update(1, "synthetic"),
                ],
            ),
            (Arrived(TRAINED), []),
            (Turn(), [RaiseMarker(TRAINED)]),
            (Turn(), []),  # nothing moves while the network is evaluated
            (Credited(0), [Forget(0)]),
            (Credited(1), [Forget(1)]),
            (MarkerReturned(TRAINED), [GiveCredit((1,)), Announce(TRAINED), LowerMarker(TRAINED)]),
            (Turn(), []),
            (Arrived(Batch(2, "evaluate")), []),
            (Turn(), [Evaluate(2), Send(Batch(2, "evaluate"))]),
            (Arrived(batch(3)), []),
            (
                Turn(),
                [
                    Keep(3, 0),
                    Forward(3, keeps_graph=True, returns_gradient=False),
                    Send(batch(3)),
                    Update(3, "synthetic"),
                    GiveCredit((2, 3)),
                ],
            ),
            (Turn(), [Recall(-4, 3), *learn_alone(-4), Forget(-4)]),
        ],
    )
    assert machine.replayed == 2


def test_the_source_has_nothing_to_replay() -> None:
    work = iter([batch(0), TRAINED])
    machine = UnevenMachine(
        position=Position(0, 2),
        window=1,
        rule=AnchorRule(0),
        slack=Slack(replays=ReplayBuffer(2, 1)),
        work=work,
    )
    assert Keep not in [type(action) for action in machine.handle(Turn())]


class UnevenLine(Line):
    """Whose stages skip and replay."""

    def make_machine(
        self,
        stage: int,
        num_stages: int,
        window: int,
        rule: Rule,
        work: list[Item],
        next_batch_id: int = 0,
    ) -> UnevenMachine:
        """One stage's decisions."""
        return UnevenMachine(
            position=Position(stage, num_stages),
            window=window,
            rule=rule,
            slack=Slack(skips=True, replays=ReplayBuffer(3, 2)),
            work=iter(work) if stage == 0 else None,
        )


@pytest.mark.parametrize("rule", [BootstrapRule(), AnchorRule(3)])
@pytest.mark.parametrize("num_stages", [1, 2, 4])
@settings(deadline=None, max_examples=20, database=None)
@given(seed=st.integers(0, 2**32), window=st.integers(1, 4))
def test_a_line_that_skips_and_replays_ends_and_evaluates_every_batch(
    num_stages: int, rule: Rule, seed: int, window: int
) -> None:
    work = list(plan_work(2, 9, 3, anchor_every=rule.anchor_every))
    line = UnevenLine(num_stages, window, rule, work)
    line.run(random.Random(seed))
    tests = [b.batch_id for b in work if isinstance(b, Batch) and b.purpose == "evaluate"]
    seen_below = [b.batch_id for b in work if isinstance(b, Batch) and b.purpose == "train"]
    for stage, machine in enumerate(line.machines):
        actions = [action for where, action in line.trace if where == stage]
        assert machine.finished
        assert not line.kept[stage]
        assert [a.batch_id for a in actions if isinstance(a, Evaluate)] == tests
        updated = sorted(a.batch_id for a in actions if isinstance(a, Update) and a.batch_id >= 0)
        assert updated == seen_below  # every batch that came was learnt from, once
        sent = [a.batch.batch_id for a in actions if isinstance(a, Send)]
        seen_below = sorted(set(sent) & set(updated))
        assert len(updated) - len(seen_below) == (
            machine.skipped if stage < num_stages - 1 else len(updated)
        )
        assert sum(isinstance(a, Recall) for a in actions) == machine.replayed
        returned = {a.batch_id for a in actions if isinstance(a, Learn)}
        assert returned <= set(seen_below)
        assert [a for a in actions if isinstance(a, Finish)] == [actions[-1]]
    assert line.returned <= {b.batch_id for b in work if isinstance(b, Batch)}


def test_a_returned_gradient_of_a_skipped_batch_is_refused() -> None:
    from dni_async import LinkError

    machine = UnevenMachine(
        position=Position(1, 3), window=1, rule=BootstrapRule(), slack=Slack(skips=True)
    )
    for batch_id in (0, 1):
        machine.handle(Arrived(batch(batch_id)))
        machine.handle(Turn())
    with pytest.raises(LinkError, match="released batch 1, which is not in flight"):
        machine.handle(Returned(1))
