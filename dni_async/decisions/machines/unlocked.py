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

    A neighbour may be replaced, see StageMachine. What the new stage below sends begins later than
    what the old one sent had ended: the batches in between get no activation, and are done without.
    One that is_replacement itself begins with what comes from below first, and behind what the
    stage above has had of the one before it (next_batch_id); what comes from below again it gives
    back.

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
        next_batch_id: int = 0,
        is_replacement: bool = False,
    ) -> None:
        super().__init__(
            position=position,
            window=window,
            rule=rule,
            first_window=first_window,
            next_batch_id=next_batch_id,
        )
        self._ahead: Iterator[Batch | Mark] = (
            item
            for item in work
            if isinstance(item, Mark) or (isinstance(item, Batch) and item.purpose == "train")
        )
        self._planned = next(self._ahead, None)
        self._targets: set[int] = set()  # arrived, their batches not yet taken up
        self._open: dict[int, _Open] = {}
        self._had_above = next_batch_id  # of the one before it, the stage above has had all before
        self._may_lack = self._awaits_first = is_replacement
        self._reached = 0  # before this nothing comes from below any more

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
        may_go_ahead = self._marks.raised is None and not self._awaits_first
        if not isinstance(batch, Batch) or not may_go_ahead:
            return self._queue[0] if self._queue else None
        is_behind = batch.batch_id in self._targets or batch.batch_id < self._reached
        return self._queue[0] if self._queue and not is_behind else batch

    def _draw(self) -> Item:
        batch = self.upcoming
        if batch is None:
            return self._queue.popleft()
        self._plan_next()
        return batch

    def _plan_next(self) -> None:
        """Go on in the order of work, past all that the stage above has had."""
        self._planned = next((each for each in self._ahead if not self._was_had(each)), None)

    def _was_had(self, planned: Batch | Mark) -> bool:
        return isinstance(planned, Batch) and planned.batch_id < self._had_above

    def _train(self, batch: Batch) -> list[Action]:
        batch_id = batch.batch_id
        self._open[batch_id] = _Open(awaits_above=self.has_above)
        actions = self._rule.on_batch(batch, has_below=True, has_above=self.has_above)
        actions = self._hold_back(batch_id, [Load(batch), SynthesizeInput(batch_id), *actions])
        if batch_id not in self._targets:
            if batch_id < self._reached:
                self._open[batch_id].target = "given up"
            return [*self._note(actions), *self._close(batch_id)]
        self._targets.remove(batch_id)
        return [*self._note(actions), *self._learn(batch_id)]

    def _accept(self, item: Item) -> list[Action]:
        lost = self._reach(item) if self._may_lack else []
        if not isinstance(item, Batch) or item.purpose == "evaluate":
            return lost + super()._accept(item)
        return lost + self._accept_target(item)

    def _accept_target(self, item: Batch) -> list[Action]:
        batch_id = item.batch_id
        self._admit(item)
        if batch_id < self._had_above and batch_id not in self._open:
            return [Forget(batch_id), *self._note([GiveCredit((batch_id,))])]
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

    def _reach(self, item: Item) -> list[Action]:
        """What comes from below comes in order: what was awaited before item is lost.

        A replacement's work begins there.
        """
        position = item.next_batch_id if isinstance(item, Mark) else item.batch_id
        self._reached = max(self._reached, position)
        if self._awaits_first:
            self._awaits_first = False
            while self._planned is not None and self._planned != item and self._is_passed(item):
                self._plan_next()
        return self._lose_awaited()

    def _is_passed(self, item: Item) -> bool:
        """Whether what is planned comes before item in the order of work, or need not be done."""
        planned = self._planned
        if isinstance(planned, Batch):
            return planned.batch_id < self._reached or self._was_had(planned)
        assert planned is not None
        if isinstance(item, Mark):
            return _order(planned) < _order(item)
        return planned.next_batch_id <= self._reached

    def _lose_awaited(self) -> list[Action]:
        """Give up those whose activation does not come any more."""
        lost = [b for b, each in self._open.items() if each.target == "awaited"]
        actions: list[Action] = []
        for batch_id in lost:
            if batch_id < self._reached and batch_id not in self._targets:
                actions += self._give_up_target(batch_id)
        return actions

    def _give_up_target(self, batch_id: int) -> list[Action]:
        self._open[batch_id].target = "given up"
        return self._close(batch_id)

    def _disown(self) -> list[Action]:
        """The stage below is new: of what the old one had to send no more comes."""
        self._may_lack = True
        return super()._disown()

    def _lose_place(self, batch_id: int) -> list[Action]:
        """The stage above is new, and does nothing with that batch; its place below is freed."""
        opened = self._open.get(batch_id)
        if opened is None:
            return super()._lose_place(batch_id)
        opened.awaits_above = False
        actions = self._note(self._hold_back(batch_id, self._pass_on(batch_id)))
        return [*actions, *self._close(batch_id)]

    def _pass_on(self, batch_id: int) -> list[Action]:
        """The credit of a batch whose gradient will not come; behind what the rule held back."""
        opened = self._open.get(batch_id)
        if opened is None or opened.target == "learnt":
            return super()._pass_on(batch_id)
        return [] if opened.held_back else [GiveCredit((batch_id,))]

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
        is_again = self._may_lack and not awaited and _comes_behind(self._planned, mark)
        if mark.kind == "stop":
            self._planned, self._ahead = None, iter(())
        elif is_again:
            pass  # the one before this one has had it back
        elif mark == self._planned and not awaited:
            self._plan_next()
        else:
            due = f"batch {awaited[0]}" if awaited else self._planned
            raise LinkError(f"stage {self.stage - 1} sent {mark} where {due} is due")
        given_up: list[Action] = []
        for batch_id in awaited:
            given_up += self._give_up_target(batch_id)
        return given_up + super()._raise(mark)


def _order(mark: Mark) -> tuple[int, bool, bool]:
    """Markers by their place in the order of work."""
    return mark.next_batch_id, mark.kind == "evaluated", mark.kind == "stop"


def _comes_behind(planned: Batch | Mark | None, mark: Mark) -> bool:
    """Whether what is planned comes behind mark in the order of work."""
    if isinstance(planned, Batch):
        return planned.batch_id >= mark.next_batch_id
    return planned is None or _order(planned) > _order(mark)
