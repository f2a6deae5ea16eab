"""Machines joined to a whole line in one process, without torch, links or a clock."""

from __future__ import annotations

import random
from collections import defaultdict, deque

from dni_async.decisions.actions import (
    Action,
    Arrived,
    Batch,
    CarryBack,
    Credited,
    Cut,
    Evaluate,
    Event,
    Forget,
    Forward,
    GiveCredit,
    Idle,
    Item,
    Keep,
    Learn,
    Load,
    LowerMarker,
    MarkerReturned,
    RaiseCut,
    RaiseMarker,
    Recall,
    Returned,
    ReturnGradient,
    Send,
    Turn,
    Update,
)
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.rules import Rule

__all__ = ["Line"]


class Line:
    """All machines of a run, joined by queues that keep order within a link and nowhere else.

    Checks what must hold at every moment while it runs.
    """

    kind: type[StageMachine] = StageMachine

    def __init__(self, num_stages: int, window: int, rule: Rule, work: list[Item]) -> None:
        self.machines = [
            self.make_machine(stage, num_stages, window, rule, work) for stage in range(num_stages)
        ]
        self.window = self.machines[0].window
        self.up: list[deque[Event]] = [deque() for _ in range(num_stages)]
        self.down: list[deque[Event]] = [deque() for _ in range(num_stages)]
        self.kept: list[set[int]] = [set() for _ in range(num_stages)]
        self.copies: list[set[int]] = [set() for _ in range(num_stages)]
        self.returned: set[int] = set()
        self.trace: list[tuple[int, Action]] = []

    def make_machine(
        self,
        stage: int,
        num_stages: int,
        window: int,
        rule: Rule,
        work: list[Item],
        next_batch_id: int = 0,
    ) -> StageMachine:
        """One stage's decisions."""
        return self.kind(
            position=Position(stage, num_stages),
            window=window,
            rule=rule,
            work=iter(work) if stage == 0 else None,
            next_batch_id=next_batch_id,
        )

    def choices(self) -> list[tuple[int, str]]:
        """All that may happen next: (stage, what)."""
        possible = []
        for stage, machine in enumerate(self.machines):
            possible += [(stage, "turn" if machine.has_turn else "idle")] * (
                machine.has_turn or machine.owes_credits
            )
            possible += [(stage, "from below")] * bool(self.up[stage])
            possible += [(stage, "from above")] * bool(self.down[stage])
        return possible

    def step(self, stage: int, what: str) -> None:
        """Let one of choices happen."""
        event: Event = Idle() if what == "idle" else Turn()
        if what.startswith("from"):
            event = (self.up if what == "from below" else self.down)[stage].popleft()
        self.hear(stage, event)

    def hear(self, stage: int, event: Event) -> None:
        """Let an event happen at a stage, and what that sets off."""
        if isinstance(event, Arrived) and isinstance(event.item, Batch):
            self.receive(stage, event.item)
        for action in self.machines[stage].handle(event):
            self.trace.append((stage, action))
            self.perform(stage, action)
        assert self.machines[stage].pending <= self.window
        under_way = [e.item for e in self.up[stage] if isinstance(e, Arrived)]
        num_markers = 1 if self.kind.drains else len(under_way)
        assert sum(not isinstance(item, Cut) for item in under_way) <= self.window + num_markers

    def receive(self, stage: int, batch: Batch) -> None:
        """Keep what came from below."""
        assert batch.batch_id not in self.kept[stage]
        self.kept[stage].add(batch.batch_id)

    def perform(self, stage: int, action: Action) -> None:
        """Keep what the action keeps, or deliver what it sends; only what is kept is worked on."""
        kept = self.kept[stage]
        match action:
            case Load(batch):
                assert stage == 0
                kept.add(batch.batch_id)
            case Keep(batch_id, gives_way):
                assert batch_id in kept
                self.copies[stage] -= {gives_way}
                self.copies[stage].add(batch_id)
            case Recall(batch_id, kept_id):
                assert kept_id in self.copies[stage]
                kept.add(batch_id)
            case Forget(batch_id):
                kept.remove(batch_id)
            case Forward() | Evaluate() | Update() | CarryBack() | Learn():
                assert action.batch_id in kept
            case _:
                self.deliver(stage, action)

    def deliver(self, stage: int, action: Action) -> None:
        """Put what the action sends on its way."""
        kept = self.kept[stage]
        match action:
            case Send(batch):
                assert batch.batch_id in kept
                sent = Batch(batch.batch_id, batch.purpose, batch.anchor)  # what a message says
                self.send_up(stage, Arrived(sent))
            case ReturnGradient(batch_id):
                assert batch_id in kept
                self.returned.add(batch_id)
                self.send_down(stage, Returned(batch_id))
            case GiveCredit(batch_ids):
                for batch_id in batch_ids:
                    self.send_down(stage, Credited(batch_id))
            case RaiseMarker(mark):
                self.send_up(stage, Arrived(mark))
            case RaiseCut(cut):
                self.send_up(stage, Arrived(cut))
            case LowerMarker(mark):
                self.send_down(stage, MarkerReturned(mark))

    def send_up(self, stage: int, event: Event) -> None:
        """To the stage above."""
        self.up[stage + 1].append(event)

    def send_down(self, stage: int, event: Event) -> None:
        """To the stage below."""
        self.down[stage - 1].append(event)

    def run(self, draw: random.Random) -> None:
        """Until nothing can happen any more, stages and links at random speeds."""
        speed: dict[tuple[int, str], int] = defaultdict(lambda: draw.choice((1, 3, 30)))
        while possible := self.choices():
            stage, what = draw.choices(possible, [speed[choice] for choice in possible])[0]
            self.step(stage, what)
