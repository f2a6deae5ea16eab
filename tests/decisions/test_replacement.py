"""Stages that die at any moment and are replaced by fresh ones: the line still ends."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise
from typing import TypeGuard

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.decisions.actions import (
    Action,
    Announce,
    Arrived,
    Batch,
    Drained,
    Evaluate,
    Event,
    Finish,
    Forward,
    LinkRemade,
    LowerMarker,
    Mark,
    MarkerReturned,
    RaiseMarker,
    Turn,
)
from dni_async.decisions.machines.kept_batches import ReplayBuffer
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.machines.undrained import UndrainedMachine
from dni_async.decisions.machines.uneven import Slack, UnevenMachine
from dni_async.decisions.rules import (
    AnchorRule,
    BootstrapRule,
    DelayedRule,
    NoBackpropRule,
    Rule,
    traits_of,
)
from dni_async.decisions.schedule import plan_work
from dni_async.errors import LinkError
from tests.decisions.line import Line

RULES = {"bootstrap": BootstrapRule(), "anchor 1": AnchorRule(1), "anchor 4": AnchorRule(4),
         "updating anchors": AnchorRule(4, updates=True), "delayed": DelayedRule(0.5),
         "control": NoBackpropRule()}  # fmt: skip
IN_TURN = {name: rule for name, rule in RULES.items() if traits_of(rule).updates_in_turn}
UNEVEN = {"bootstrap": BootstrapRule(), "anchor 4": AnchorRule(4)}


class MortalLine(Line):
    """A line whose stages may die; a dead one's links are remade as the workers do it.

    In this order, everything else going on in between: the stage above drops the old link; the
    replacement takes its place, told by the stage above where the work goes on; the stage below
    turns to it. A stage may die while its neighbour is dead. What is sent to the dead is read by
    nobody.
    """

    def __init__(
        self, num_stages: int, window: int, rule: Rule, work: list[Batch | Mark], deaths: int
    ) -> None:
        super().__init__(num_stages, window, rule, work)
        self.rule, self.work, self.deaths_left = rule, work, deaths
        self.told_batch_id = 0  # by the source's Progress, and by the end of an epoch's training
        self.dead: set[int] = set()
        self.died_at: list[tuple[int, int]] = []  # stage, and how long the trace was
        self.has_old_inbox: set[int] = set()  # the other end is or was a process that has died
        self.has_old_outbox: set[int] = set()
        self.sends_up = [*self.up[1:], deque[Event]()]
        self.sends_down = [deque[Event](), *self.down[:-1]]

    def is_there(self, stage: int) -> bool:
        """Whether a new link to this stage can be made."""
        return stage not in self.dead and not self.machines[stage].finished

    def choices(self) -> list[tuple[int, str]]:
        """What may happen to the living, deaths, and what follows on them."""
        possible = [choice for choice in super().choices() if choice[0] not in self.dead]
        has_news = self.told_batch_id < self.machines[0].next_batch_id
        if possible and has_news and 0 not in self.dead:
            possible.append((0, "progress"))
        for stage in range(len(self.machines)):
            is_head = stage + 1 == len(self.machines)
            if stage in self.dead:
                if is_head or (self.is_there(stage + 1) and stage + 1 not in self.has_old_inbox):
                    possible.append((stage, "replace"))
                continue
            # One that dies when the stages above have left is not replaced; see the launcher.
            have_left = any(above.finished for above in self.machines[stage:])
            if self.deaths_left and not have_left:
                possible.append((stage, "die"))
            if stage in self.has_old_inbox:
                possible.append((stage, "remake below"))
            if stage in self.has_old_outbox and self.is_there(stage + 1):
                possible.append((stage, "remake above"))
        return possible

    def step(self, stage: int, what: str) -> None:
        """Let one of choices happen."""
        match what:
            case "die":
                self.die(stage)
            case "replace":
                self.replace(stage)
            case "progress":
                self.told_batch_id = self.machines[0].next_batch_id
            case "remake below":
                self.has_old_inbox.remove(stage)
                self.up[stage], self.sends_down[stage] = deque(), deque()
                self.hear(stage, LinkRemade("below"))
            case "remake above":
                self.has_old_outbox.remove(stage)
                self.connect(stage)
                self.hear(stage, LinkRemade("above"))
            case _:
                before = len(self.trace)
                super().step(stage, what)
                for at, action in self.trace[before:]:
                    if at == 0 and isinstance(action, Announce) and action.mark.kind == "trained":
                        self.told_batch_id = max(self.told_batch_id, action.mark.next_batch_id)

    def die(self, stage: int) -> None:
        """All in its hands is lost; what it sent before may still arrive."""
        self.deaths_left -= 1
        self.dead.add(stage)
        self.died_at.append((stage, len(self.trace)))
        self.kept[stage], self.copies[stage] = set(), set()
        self.has_old_inbox.discard(stage)
        self.has_old_outbox.discard(stage)
        if stage + 1 < len(self.machines) and stage + 1 not in self.dead:
            self.has_old_inbox.add(stage + 1)
        if stage > 0 and stage - 1 not in self.dead:
            self.has_old_outbox.add(stage - 1)

    def replace(self, stage: int) -> None:
        """A fresh one takes the place."""
        self.dead.remove(stage)
        next_batch_id = self.told_batch_id if stage == 0 else 0
        if stage + 1 < len(self.machines):
            next_batch_id = max(next_batch_id, self.machines[stage + 1].next_batch_id)
        self.machines[stage] = self.make_machine(
            stage, len(self.machines), self.window, self.rule, self.work, next_batch_id
        )
        self.up[stage], self.sends_down[stage] = deque(), deque()
        self.connect(stage)

    def connect(self, stage: int) -> None:
        """Join the outbox to the inbox that the stage above has now."""
        if stage + 1 < len(self.machines):
            self.sends_up[stage] = self.up[stage + 1]
            self.down[stage] = self.sends_down[stage + 1]

    def send_up(self, stage: int, event: Event) -> None:
        """Over the outbox that this stage has, wherever that leads."""
        self.sends_up[stage].append(event)

    def send_down(self, stage: int, event: Event) -> None:
        """Over the inbox that this stage has, wherever that leads."""
        self.sends_down[stage].append(event)


class DrainedLine(MortalLine):
    """Whose source is told to end early at some moment, and every source after it before it begins.

    word_at: at which step that is. deaths_at: at or after which steps somebody dies.
    """

    word_at = 0
    deaths_at: tuple[int, ...] = ()
    num_steps = 0
    is_drained = False

    def choices(self) -> list[tuple[int, str]]:
        """Deaths when it is time for them, and then alone if there can be any."""
        possible = super().choices()
        deaths = [choice for choice in possible if choice[1] == "die"]
        num_died = len(self.deaths_at) - self.deaths_left
        if deaths and self.num_steps >= self.deaths_at[num_died]:
            return deaths
        return [choice for choice in possible if choice not in deaths]

    def step(self, stage: int, what: str) -> None:
        """Let one of choices happen, and the word come when it is time."""
        super().step(stage, what)
        self.num_steps += 1
        if self.num_steps >= self.word_at and not self.is_drained:
            self.is_drained = True
            if 0 not in self.dead and not self.machines[0].finished:
                self.hear(0, Drained())

    def replace(self, stage: int) -> None:
        """A fresh source is told again."""
        super().replace(stage)
        if stage == 0 and self.is_drained:
            self.hear(0, Drained())


class UndrainedEndingLine(DrainedLine):
    """Where batches follow markers at once."""

    kind = UndrainedMachine


class UndrainedMortalLine(MortalLine):
    """Where batches follow markers at once."""

    kind = UndrainedMachine


class UnevenMortalLine(MortalLine):
    """Whose stages skip and replay."""

    def make_machine(
        self,
        stage: int,
        num_stages: int,
        window: int,
        rule: Rule,
        work: list[Batch | Mark],
        next_batch_id: int = 0,
    ) -> StageMachine:
        """One stage's decisions."""
        return UnevenMachine(
            position=Position(stage, num_stages),
            window=window,
            rule=rule,
            slack=Slack(skips=True, replays=ReplayBuffer(3, 2)),
            work=iter(work) if stage == 0 else None,
            next_batch_id=next_batch_id,
        )


@pytest.mark.parametrize(
    ("kind", "rule"),
    [*((MortalLine, rule) for rule in RULES.values()),
     *((UndrainedMortalLine, rule) for rule in IN_TURN.values()),
     *((UnevenMortalLine, rule) for rule in UNEVEN.values())],
    ids=[*RULES, *(f"undrained, {name}" for name in IN_TURN),
         *(f"uneven, {name}" for name in UNEVEN)],
)  # fmt: skip
@pytest.mark.parametrize("window", [1, 2, 8])
@pytest.mark.parametrize("evaluate_batches", [0, 3])
@settings(deadline=None, max_examples=12, database=None)
@given(num_stages=st.integers(2, 6), deaths=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_a_line_whose_stages_die_ends_and_loses_what_was_in_flight_at_most(
    kind: type[MortalLine],
    rule: Rule,
    window: int,
    evaluate_batches: int,
    num_stages: int,
    deaths: int,
    seed: int,
) -> None:
    plan = plan_work(3, 9, evaluate_batches, anchor_every=rule.anchor_every)
    work = list(plan)
    line = kind(num_stages, window, rule, work, deaths)
    line.run(random.Random(seed))

    assert not line.dead
    for stage, machine in enumerate(line.machines):
        assert machine.finished, stage
        assert machine.pending == 0
        assert not line.kept[stage]
        actions = [action for where, action in line.trace if where == stage]
        assert_all_marks(actions, work)
    assert_in_order(line, work)
    if kind is not UnevenMortalLine:
        trained = {a.batch_id for at, a in line.trace if at == num_stages - 1 and is_forward(a)}
        num_batches = sum(isinstance(i, Batch) and i.purpose == "train" for i in work)
        died = deaths - line.deaths_left
        assert len(trained) >= num_batches - 2 * line.window * died


def test_a_new_source_goes_on_behind_the_batches_that_were_skipped_before_a_marker() -> None:
    """The stage above never saw them; the marker tells where the work goes on."""
    machine = StageMachine(position=Position(1, 3), window=2, rule=BootstrapRule())
    machine.handle(Arrived(Batch(4, "train")))
    machine.handle(Arrived(Mark("trained", 1, 9)))
    assert machine.next_batch_id == 9

    line = UnevenMortalLine(3, 2, BootstrapRule(), list(plan_work(3, 9, 0)), 3)
    line.run(random.Random(2723))
    assert all(machine.finished for machine in line.machines)


@pytest.mark.parametrize("kind", [DrainedLine, UndrainedEndingLine])
@pytest.mark.parametrize("seed", range(400))
def test_a_line_whose_stages_die_while_it_ends_early_ends(
    seed: int, kind: type[DrainedLine]
) -> None:
    draw = random.Random(seed)
    num_stages, deaths = draw.randint(2, 4), draw.randint(1, 3)
    work = list(plan_work(3, 4, draw.choice((0, 2))))
    line = kind(num_stages, 2, BootstrapRule(), work, deaths)
    line.word_at = draw.randrange(100 * num_stages)
    line.deaths_at = tuple(sorted(line.word_at + draw.randint(-20, 40) for _ in range(deaths)))
    line.run(draw)
    for stage in line.dead:  # nobody can take the place, and the launcher ends the run
        assert any(above.finished for above in line.machines[stage + 1 :])
    for stage, machine in enumerate(line.machines):
        assert line.dead or machine.finished, stage
        assert line.dead or (machine.pending == 0 and not line.kept[stage])
    assert_in_order(line, work)


def test_a_new_source_that_repeats_a_marker_may_raise_the_next_one_again() -> None:
    """Both were on their way or back when the one before it died."""
    machine = StageMachine(position=Position(1, 3), window=2, rule=BootstrapRule())
    evaluated, stop = Mark("evaluated", 3), Mark("stop", 3)
    for mark in (evaluated, stop):
        machine.handle(Arrived(mark))
        assert machine.handle(Turn()) == [RaiseMarker(mark)]
        if mark == evaluated:
            machine.handle(MarkerReturned(mark))
    machine.handle(LinkRemade("below"))
    assert machine.handle(Arrived(evaluated)) == [LowerMarker(evaluated)]
    assert machine.handle(Arrived(stop)) == []
    assert machine.handle(MarkerReturned(stop)) == [Announce(stop), LowerMarker(stop), Finish()]


def test_a_new_source_that_is_told_to_end_waits_behind_the_marker_on_its_way() -> None:
    machine = StageMachine(position=Position(1, 3), window=2, rule=BootstrapRule())
    evaluated, stop = Mark("evaluated", 1), Mark("stop", 0)
    machine.handle(Arrived(evaluated))
    machine.handle(Turn())
    machine.handle(LinkRemade("below"))
    assert machine.handle(Arrived(stop)) == []
    assert not machine.has_turn
    assert machine.handle(MarkerReturned(evaluated)) == [Announce(evaluated)]
    assert machine.handle(Turn()) == [RaiseMarker(stop)]
    with pytest.raises(LinkError, match="past a marker that has yet to come back"):
        machine.handle(Arrived(Batch(50, "train")))


def is_forward(action: Action) -> TypeGuard[Forward]:
    """Whether a training batch passes the stage; a replay does not."""
    return isinstance(action, Forward) and action.batch_id >= 0


def is_worked_on(action: Action) -> TypeGuard[Forward | Evaluate]:
    """Whether a batch passes the stage; a replay does not."""
    return isinstance(action, Evaluate) or is_forward(action)


def assert_all_marks(actions: list[Action], work: list[Batch | Mark]) -> None:
    """The stage, whoever hosted it, told of every marker; of some again, none too early."""
    marks = [item for item in work if isinstance(item, Mark)]
    told = [action.mark for action in actions if isinstance(action, Announce)]
    assert list(dict.fromkeys(told)) == marks
    assert isinstance(actions[-1], Finish)


def assert_in_order(line: MortalLine, work: list[Batch | Mark]) -> None:
    """No stage trains on an epoch before the one before has ended everywhere, or undrained, there.

    Nor does one that lives take up any batch out of turn.
    """
    epoch_of = {item.batch_id: item.epoch for item in work if isinstance(item, Batch)}
    if line.kind.drains:
        epochs = [epoch_of[a.batch_id] for _, a in line.trace if is_worked_on(a)]
        assert epochs == sorted(epochs)
    for stage in range(len(line.machines)):
        deaths = [0, *(place for at, place in line.died_at if at == stage), len(line.trace)]
        for begin, end in pairwise(deaths):
            part = line.trace[begin:end]
            ids = [a.batch_id for at, a in part if at == stage and is_worked_on(a)]
            assert ids == sorted(ids)
