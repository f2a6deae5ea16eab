"""Stages that predict their inputs die at any moment, and are replaced: the line still ends."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.decisions.actions import (
    Action,
    Arrived,
    Batch,
    Cut,
    Forget,
    GiveCredit,
    Item,
    LearnInput,
    LinkRemade,
    Load,
    Mark,
    MarkerReturned,
    Turn,
)
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.machines.unlocked import UnlockedMachine
from dni_async.decisions.rules import AnchorRule, Rule
from dni_async.decisions.schedule import plan_work
from tests.decisions.machines.test_unlocked import RULES, UnlockedLine
from tests.decisions.test_replacement import (
    DrainedLine,
    MortalLine,
    assert_all_marks,
    assert_in_order,
    is_forward,
)


class UnlockedMortalLine(UnlockedLine, MortalLine):
    """Every stage above the source takes up its batches by itself, replacements too."""

    def make_machine(
        self,
        stage: int,
        num_stages: int,
        window: int,
        rule: Rule,
        work: list[Item],
        next_batch_id: int = 0,
    ) -> StageMachine:
        """One stage's decisions; those made after the beginning are replacements."""
        if stage == 0:
            return MortalLine.make_machine(
                self, stage, num_stages, window, rule, work, next_batch_id
            )
        return UnlockedMachine(
            position=Position(stage, num_stages),
            window=window,
            rule=rule,
            work=iter(work),
            next_batch_id=next_batch_id,
            is_replacement=hasattr(self, "dead"),
        )

    def perform(self, stage: int, action: Action) -> None:
        """As ever; what came again is forgotten without having been taken up."""
        if isinstance(action, Forget) and action.batch_id not in self.kept[stage]:
            assert action.batch_id < self.machines[stage].next_batch_id
            assert stage > 0
            return
        super().perform(stage, action)


class UnlockedDrainedLine(UnlockedMortalLine, DrainedLine):
    """Whose source is told to end early."""


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("window", [1, 2, 8])
@pytest.mark.parametrize("evaluate_batches", [0, 3])
@settings(deadline=None, max_examples=12, database=None)
@given(num_stages=st.integers(2, 6), deaths=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_a_line_whose_stages_die_ends_and_loses_what_was_in_flight_at_most(
    rule: Rule, window: int, evaluate_batches: int, num_stages: int, deaths: int, seed: int
) -> None:
    work = list(plan_work(3, 9, evaluate_batches, anchor_every=rule.anchor_every))
    line = UnlockedMortalLine(num_stages, window, rule, work, deaths)
    line.run(random.Random(seed))

    assert not line.dead
    for stage, machine in enumerate(line.machines):
        assert machine.finished, stage
        assert machine.pending == 0
        assert not line.kept[stage]
        actions = [action for where, action in line.trace if where == stage]
        assert_all_marks(actions, work)
    assert_in_order(line, work)
    trained = {a.batch_id for at, a in line.trace if at == num_stages - 1 and is_forward(a)}
    num_batches = sum(isinstance(i, Batch) and i.purpose == "train" for i in work)
    died = deaths - line.deaths_left
    assert len(trained) >= num_batches - 2 * line.window * died
    learnt = [a.batch_id for _, a in line.trace if isinstance(a, LearnInput)]
    assert learnt


def machine_of(next_batch_id: int) -> UnlockedMachine:
    """A replacement in the middle of three stages."""
    return UnlockedMachine(
        position=Position(1, 3),
        window=3,
        rule=AnchorRule(0),
        work=plan_work(2, 9, 1),
        next_batch_id=next_batch_id,
        is_replacement=True,
    )


def taken_up(machine: UnlockedMachine) -> list[int]:
    """Which training batches it does by itself by now."""
    done = []
    while machine.has_turn:
        done += [a.batch.batch_id for a in machine.handle(Turn()) if isinstance(a, Load)]
    return done


def test_a_replacement_begins_with_what_comes_first_and_gives_back_what_was_had() -> None:
    machine = machine_of(next_batch_id=5)
    assert not machine.has_turn
    assert machine.upcoming is None
    again = machine.handle(Arrived(Batch(4, "train")))
    assert again == [Forget(4), GiveCredit((4,))]
    assert taken_up(machine) == [5, 6, 7]


def test_a_replacement_that_begins_with_a_cut_does_not_do_again_what_was_had() -> None:
    machine = machine_of(next_batch_id=5)
    machine.handle(Arrived(Cut(4, 1, 4)))
    again = machine.handle(Arrived(Batch(4, "train")))
    assert again == [Forget(4), GiveCredit((4,))]
    assert taken_up(machine) == [5, 6, 7]


def test_a_replacement_that_hears_a_marker_again_does_not_do_again_what_was_had() -> None:
    """The dead had the marker back and went ahead, but the stage below has not heard of it."""
    machine = machine_of(next_batch_id=12)
    evaluated = Mark("evaluated", 1, 10)
    machine.handle(Arrived(evaluated))
    machine.handle(Turn())
    assert machine.handle(MarkerReturned(evaluated))
    assert taken_up(machine) == [12, 13, 14]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (Mark("trained", 1, 9), []),
        (Batch(9, "evaluate"), []),
        (Mark("evaluated", 1, 10), []),
        (Batch(12, "train"), [12, 13, 14]),
    ],
)
def test_a_replacement_knows_where_the_work_is(first: Item, then: list[int]) -> None:
    machine = machine_of(next_batch_id=0)
    machine.handle(Arrived(first))
    assert taken_up(machine) == then


def test_what_the_dead_did_not_send_is_done_without_it_before_the_marker() -> None:
    machine = UnlockedMachine(
        position=Position(1, 2), window=2, rule=AnchorRule(0), work=plan_work(1, 4, 0)
    )
    machine.handle(Arrived(Batch(0, "train")))
    assert taken_up(machine) == [0, 1, 2]
    machine.handle(LinkRemade("below"))
    assert machine.handle(Arrived(Mark("trained", 1, 4))) == [Forget(1), Forget(2)]
    assert [type(a) for a in machine.handle(Turn())][:1] == [Load], "the last one"
    assert machine.handle(Turn()), "the marker"


@pytest.mark.parametrize("seed", range(200))
def test_a_line_whose_stages_die_while_it_ends_early_ends(seed: int) -> None:
    draw = random.Random(seed)
    num_stages, deaths = draw.randint(2, 4), draw.randint(1, 3)
    work = list(plan_work(3, 4, draw.choice((0, 2))))
    line = UnlockedDrainedLine(num_stages, 2, draw.choice(list(RULES.values())), work, deaths)
    line.word_at = draw.randrange(100 * num_stages)
    line.deaths_at = tuple(sorted(line.word_at + draw.randint(-20, 40) for _ in range(deaths)))
    line.run(draw)
    for stage in line.dead:  # nobody can take the place, and the launcher ends the run
        assert any(above.finished for above in line.machines[stage + 1 :])
    for stage, machine in enumerate(line.machines):
        assert line.dead or machine.finished, stage
        assert line.dead or (machine.pending == 0 and not line.kept[stage])
    assert_in_order(line, work)
