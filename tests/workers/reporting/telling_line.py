"""A line of machines that tell of epochs, some of which die with words they have not got out."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from dni_async.decisions.actions import Action, Announce, Event, Mark
from dni_async.decisions.machines.position import Position
from dni_async.decisions.rules import BootstrapRule
from dni_async.decisions.schedule import plan_work
from dni_async.decisions.words import EpochWord
from dni_async.launcher.decisions.epochs import OpenEpochs, WholeEpoch
from dni_async.wire.messages import (
    BoundaryEpoch,
    EndReached,
    EpochEntered,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Message,
    Side,
    TellAgain,
)
from dni_async.workers.reporting.telling import Telling
from tests.decisions.test_replacement import MortalLine

__all__ = ["EPOCHS", "TellingLine"]

EPOCHS = 4
RUN = "run"


@dataclass(frozen=True)
class Reached:
    """The source's Progress, which comes among its other words."""

    next_batch_id: int


@dataclass(frozen=True)
class Greeting:
    """The first word on a new link, from its lower end."""


class TellingLine(MortalLine):
    """Each stage's Telling is the real one; the coordinator hears it as late as it may.

    deaths_at: (step, stage) of each death. has_witnesses: without, words are told once, as if
    nobody else knew them. entered: what came whole; heard: all that came, but told again.
    """

    def __init__(
        self,
        draw: random.Random,
        *,
        deaths_at: list[tuple[int, int]] | None = None,
        has_witnesses: bool = True,
    ) -> None:
        num_stages, window = draw.randint(2, 5), draw.choice((1, 2, 4))
        work = list(plan_work(EPOCHS, draw.randint(1, 6), draw.choice((0, 2))))
        super().__init__(num_stages, window, BootstrapRule(), work, 0)
        self.num_stages = num_stages
        self.deaths_at = list(deaths_at or [])
        self.has_witnesses = has_witnesses
        self.num_steps = 0
        self.is_from_below = self.is_remaking = False
        self.announced_at: list[tuple[int, int]] = []  # step, stage
        self.incarnations = [0] * num_stages
        self.said: list[deque[Message]] = [deque() for _ in range(num_stages)]
        self.orders: list[deque[Message]] = [deque() for _ in range(num_stages)]
        self.tellings = [self.make_telling(stage) for stage in range(num_stages)]
        self.epochs = OpenEpochs(num_stages, next_of=lambda e: e + 1 if e < EPOCHS else None)
        self.heard: list[EpochWord] = []
        self.entered: list[WholeEpoch] = []
        self.passed = 0
        self.reached = 0  # where the next source goes on, as the coordinator has heard
        marks = [item for item in work if isinstance(item, Mark) and item.kind == "trained"]
        self.behind = {mark.epoch: mark.next_batch_id for mark in marks}

    # --- workers -------------------------------------------------------------------------------

    def make_telling(self, stage: int) -> Telling:
        """What the stage's worker tells by."""

        def link(send: Any) -> Any:
            return SimpleNamespace(send=lambda message: send(stage, message))

        position = Position(stage, self.num_stages)
        seat = SimpleNamespace(
            stage=stage,
            run_id=RUN,
            inbox=link(self.send_down) if position.has_below else None,
            outbox=link(self.send_up) if position.has_above else None,
            is_replacement=self.incarnations[stage] > 0,
            welcome=SimpleNamespace(num_stages=self.num_stages),
            config=SimpleNamespace(epochs=EPOCHS),
        )
        control = SimpleNamespace(send=self.said[stage].append)
        return Telling(cast("Any", seat), cast("Any", control))

    def hear(self, stage: int, event: Event) -> None:
        """A word over a link is no event of the machine's."""
        match cast("Any", event):
            case Greeting():
                self.meet(stage, "below")
            case EpochEntered() | EpochTrained() | EpochLoss() | BoundaryEpoch() | Evaluated():
                side: Side = "below" if self.is_from_below else "above"
                self.tellings[stage].hear(cast("Any", event), side)
            case _:
                super().hear(stage, event)

    def meet(self, stage: int, side: Side) -> None:
        """A link is made anew, and used."""
        if self.has_witnesses:
            self.tellings[stage].meet(side)

    def perform(self, stage: int, action: Action) -> None:
        """Tell what there is to tell, as workers do."""
        if not isinstance(action, Announce):
            super().perform(stage, action)
            return
        self.announced_at.append((self.num_steps, stage))
        telling = self.tellings[stage]
        if action.mark.kind == "evaluated" and stage == 0:
            telling.tested(action.mark.epoch)
        for word in self.words(stage, action.mark):
            if self.has_witnesses:
                telling.tell(word)
            else:
                self.said[stage].append(word)

    def words(self, stage: int, mark: Mark) -> list[EpochWord]:
        """What a stage has to say; each figure is of its worker alone."""
        epoch, figure = mark.epoch, float(self.incarnations[stage] + 1)
        is_head = stage + 1 == self.num_stages
        if mark.kind == "evaluated":
            return [Evaluated(RUN, epoch, figure, {}, 1)] if is_head else []
        if mark.kind == "stop":
            return []
        found: list[EpochWord] = [EpochTrained(RUN, epoch, figure)] if stage == 0 else []
        if is_head:
            return [*found, EpochLoss(RUN, epoch, figure, 1)]
        return [*found, BoundaryEpoch(RUN, stage, epoch, 1, figure, 0.0, 0.0, 0, 0)]

    # --- what happens --------------------------------------------------------------------------

    def choices(self) -> list[tuple[int, str]]:
        """As the line's, and what is said and heard; who is to die dies."""
        self.deaths_left = 0
        if self.deaths_at and self.num_steps >= self.deaths_at[0][0]:
            _, stage = self.deaths_at.pop(0)
            if stage not in self.dead and not any(m.finished for m in self.machines[stage:]):
                return [(stage, "die")]
        possible = super().choices()
        if self.is_waiting_at_end:
            possible = [choice for choice in possible if choice != (0, "turn")]
        possible += [(stage, "told") for stage, said in enumerate(self.said) if said]
        living = [stage for stage in range(self.num_stages) if stage not in self.dead]
        return possible + [(stage, "order") for stage in living if self.orders[stage]]

    @property
    def is_waiting_at_end(self) -> bool:
        """Whether the source may not raise the end yet."""
        is_end = 0 not in self.dead and self.machines[0].is_before_end
        return self.has_witnesses and is_end and not self.tellings[0].may_end()

    def step(self, stage: int, what: str) -> None:
        """Let one of choices happen."""
        self.num_steps += 1
        self.is_from_below = what == "from below"
        if what == "told":
            self.enter(stage, self.said[stage].popleft())
        elif what == "progress":
            self.said[0].append(cast("Any", Reached(self.machines[0].next_batch_id)))
            self.told_batch_id = self.machines[0].next_batch_id  # there is no more news
        elif what == "order":
            match self.orders[stage].popleft():
                case EpochEntered(epoch=epoch):
                    self.tellings[stage].kept.enter(epoch)
                case TellAgain(epoch=epoch):
                    self.tellings[stage].tell_again(epoch)
        else:
            self.is_remaking = what == "remake above"
            super().step(stage, what)
            if what == "remake below":
                self.tellings[stage].part("below")

    def die(self, stage: int) -> None:
        """What has not left the worker is lost with it; some of it may have."""
        super().die(stage)
        self.orders[stage] = deque()
        self.said[stage].clear()

    def replace(self, stage: int) -> None:
        """A fresh one takes the place."""
        self.told_batch_id = self.reached
        super().replace(stage)
        self.incarnations[stage] += 1
        self.said[stage] = deque()
        self.tellings[stage] = self.make_telling(stage)
        if self.has_witnesses:
            self.tellings[stage].begin()
        self.ask(stage)

    def connect(self, stage: int) -> None:
        """The one above is greeted first of all."""
        super().connect(stage)
        if stage + 1 < len(self.machines):
            self.sends_up[stage].append(cast("Any", Greeting()))
            if self.is_remaking:  # before the machine raises its marker once more
                self.meet(stage, "above")

    # --- the coordinator -----------------------------------------------------------------------

    def enter(self, stage: int, message: Message) -> None:
        """As the run's machine does."""
        if isinstance(message, Reached):
            self.reached = max(self.reached, message.next_batch_id)
            return
        if isinstance(message, EndReached):
            self.passed = max(self.passed, message.epoch)
            if self.epochs.last >= message.epoch:
                self.orders[0].append(EpochEntered(RUN, self.epochs.last))
            for each in range(self.num_stages):
                self.ask(each)
            return
        word = cast("EpochWord", message)
        if isinstance(word, EpochTrained):
            self.reached = max(self.reached, self.behind[word.epoch])
        if not self.epochs.is_told(word):
            self.heard.append(word)
        for whole in self.epochs.enter(word):
            self.entered.append(whole)
            for orders in self.orders:
                orders.append(EpochEntered(RUN, whole.epoch))

    def ask(self, stage: int) -> None:
        """For what is missing of epochs that are over."""
        for who, epoch in self.epochs.missing(self.passed):
            if who == stage:
                self.orders[stage].append(TellAgain(RUN, epoch))

    @property
    def lost(self) -> list[int]:
        """The epochs that a report without guesses would lack."""
        told = {(type(word), word.epoch) for word in self.heard}
        kinds = (EpochTrained, EpochLoss, Evaluated)
        epochs = range(1, EPOCHS + 1)
        return [epoch for epoch in epochs if any((kind, epoch) not in told for kind in kinds)]
