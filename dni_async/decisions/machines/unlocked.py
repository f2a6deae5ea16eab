"""Decides for a stage that predicts its own input, and so waits for no stage below either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from dni_async.decisions.actions import (
    Action,
    Batch,
    Cut,
    Forget,
    GiveCredit,
    Item,
    LearnInput,
    Load,
    Mark,
    ReturnGradient,
    SynthesizeInput,
)
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.rules import Rule
from dni_async.errors import LinkError

__all__ = ["UnlockedMachine"]


@dataclass(slots=True)
class _Open:
    """A training batch that was taken up. held_back: what frees its place below, for later."""

    awaits_above: bool
    target: Literal["awaited", "learnt", "given up"] = "awaited"
    held_back: list[Action] = field(default_factory=list)


class UnlockedMachine(StageMachine):
    """A stage above the source under the complete unlock (Jaderberg et al. 2016).

    It knows the source's order of work, so it takes up training batches by itself: loads the
    samples, predicts its input from them, and does what the rule says. The activation that the
    stage below sends for the batch is the target of that prediction, whenever it comes. Only when
    it has been learnt from may the rule's ReturnGradient or GiveCredit free its place below.

    A batch is open until it has been learnt from and the stage above is done with it. At most
    ``window`` are open, so a stage is ahead of the ones below and above by a window and no more.

    Test batches and markers come from below as ever. A marker is passed on when all training
    batches before it are done. A cut is taken up when all before it are; by then the stage may have
    done up to a window of those behind it.

    The run may end before the work does: what was taken up ahead of the last marker then never gets
    its activation, and is given up.

    work: the source's order of work (schedule.plan_work).
    """

    def __init__(
        self,
        *,
        position: Position,
        window: int,
        rule: Rule,
        work: Iterator[Item],
        first_window: int | None = None,
    ) -> None:
        super().__init__(
            position=position,
            window=window,
            rule=rule,
            first_window=first_window,
        )
        self._ahead: Iterator[Batch | Mark] = (
            item
            for item in work
            if isinstance(item, Mark) or (isinstance(item, Batch) and item.purpose == "train")
        )
        self._planned = next(self._ahead, None)
        self._targets: set[int] = set()  # arrived, their batches not yet taken up
        self._open: dict[int, _Open] = {}

    @property
    def upcoming(self) -> Batch | None:
        """The batch to load next; None where something from below is next."""
        item = self._peek()
        return item if item is self._planned and isinstance(item, Batch) else None

    @property
    def _has_room(self) -> bool:
        if isinstance(self._peek(), Cut):
            return True  # what is taken up already may wait for what comes behind it
        return len(self._open) < self.window and super()._has_room

    def _peek(self) -> Item | None:
        """The next batch of the plan; behind a marker only if its activation came before."""
        batch = self._planned
        if not isinstance(batch, Batch) or self._marks.raised is not None:
            return self._queue[0] if self._queue else None
        is_behind = batch.batch_id in self._targets
        return self._queue[0] if self._queue and not is_behind else batch

    def _draw(self) -> Item:
        batch = self.upcoming
        if batch is None:
            return self._queue.popleft()
        self._planned = next(self._ahead, None)
        return batch

    def _train(self, batch: Batch) -> list[Action]:
        batch_id = batch.batch_id
        self._open[batch_id] = _Open(awaits_above=self.has_above)
        actions = self._rule.on_batch(batch, has_below=True, has_above=self.has_above)
        actions = self._hold_back(batch_id, [Load(batch), SynthesizeInput(batch_id), *actions])
        if batch_id not in self._targets:
            return self._note(actions)
        self._targets.remove(batch_id)
        return [*self._note(actions), *self._learn(batch_id)]

    def _accept(self, item: Item) -> list[Action]:
        if not isinstance(item, Batch) or item.purpose == "evaluate":
            return super()._accept(item)
        batch_id = item.batch_id
        self._admit(item)
        opened = self._open.get(batch_id)
        if opened is not None and opened.target == "awaited":
            return self._learn(batch_id)
        if not isinstance(self._planned, Batch) or batch_id < self._planned.batch_id:
            raise LinkError(f"stage {self.stage - 1} sent batch {batch_id}, which is done")
        self._targets.add(batch_id)
        return []

    def _learn(self, batch_id: int) -> list[Action]:
        """The activation is here, and its batch has been taken up."""
        opened = self._open[batch_id]
        opened.target = "learnt"
        return [LearnInput(batch_id), *self._note(opened.held_back), *self._close(batch_id)]

    def _pass_on(self, batch_id: int) -> list[Action]:
        """Nothing: the rule's own credit may be held back, and no stage is replaced here."""
        return []

    def _complete(self, batch_id: int, actions: list[Action]) -> list[Action]:
        opened = self._open.get(batch_id)
        if opened is None:
            return super()._complete(batch_id, actions)
        self._release(batch_id)
        opened.awaits_above = False
        return [*self._note(self._hold_back(batch_id, actions)), *self._close(batch_id)]

    def _hold_back(self, batch_id: int, actions: list[Action]) -> list[Action]:
        """actions, without those that free the place below if the activation is not here yet."""
        opened = self._open[batch_id]
        if opened.target == "learnt":
            return actions
        freeing = [action for action in actions if isinstance(action, ReturnGradient | GiveCredit)]
        opened.held_back += freeing
        return [action for action in actions if action not in freeing]

    def _close(self, batch_id: int) -> list[Action]:
        """Forget the batch, unless something is still to come for it."""
        opened = self._open[batch_id]
        if opened.awaits_above or opened.target == "awaited":
            return []
        del self._open[batch_id]
        return [Forget(batch_id)]

    def _raise(self, mark: Mark) -> list[Action]:
        awaited = [b for b, opened in self._open.items() if opened.target == "awaited"]
        if mark.kind == "stop":
            self._planned, self._ahead = None, iter(())
        elif mark == self._planned and not awaited:
            self._planned = next(self._ahead, None)
        else:
            due = f"batch {awaited[0]}" if awaited else self._planned
            raise LinkError(f"stage {self.stage - 1} sent {mark} where {due} is due")
        given_up: list[Action] = []
        for batch_id in awaited:
            self._open[batch_id].target = "given up"
            given_up += self._close(batch_id)
        return given_up + super()._raise(mark)
