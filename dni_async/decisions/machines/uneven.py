"""Decides for a stage that waits neither for a slow neighbour above nor for one below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dni_async.decisions.actions import (
    Action,
    Batch,
    Cut,
    Forget,
    Item,
    Keep,
    Mark,
    Recall,
    Send,
)
from dni_async.decisions.machines.kept_batches import ReplayBuffer
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.position import Position
from dni_async.decisions.rules import Rule

__all__ = ["Slack", "UnevenMachine"]


@dataclass(frozen=True, slots=True)
class Slack:
    """Where a stage learns on instead of waiting.

    skips: a training batch that finds the window full is learnt from and not sent up. No stage
    above ever sees it, so an anchor is an anchor no more, and its place below is given back by a
    credit where a gradient was to do that.

    replays: what is learnt from, beside what arrives, while nothing does; None: nothing. A replay
    has a negative id, and no neighbour hears of it. None happens between a marker and the next
    training batch: the network is evaluated then.
    """

    skips: bool = False
    replays: ReplayBuffer | None = None


class UnevenMachine(StageMachine):
    """A stage machine that learns on where StageMachine waits, as far as its slack goes."""

    def __init__(
        self,
        *,
        position: Position,
        window: int,
        rule: Rule,
        slack: Slack,
        first_window: int | None = None,
        work: Iterator[Item] | None = None,
        next_batch_id: int = 0,
    ) -> None:
        super().__init__(
            position=position,
            window=window,
            rule=rule,
            first_window=first_window,
            work=work,
            next_batch_id=next_batch_id,
        )
        self._skips = slack.skips
        self._replays = slack.replays if self.has_below else None  # the source lacks nothing
        self._is_training = False  # from an epoch's first batch to its marker

    @property
    def has_turn(self) -> bool:
        """Whether a Turn would lead to any action."""
        return self._may_replay if self._peek() is None else super().has_turn

    @property
    def is_blocked(self) -> bool:
        """Whether the next batch is here and only a full window keeps it from being taken up."""
        return isinstance(self._peek(), Batch) and not self._has_room

    @property
    def _may_replay(self) -> bool:
        return self._is_training and self._replays is not None and self._replays.has_more

    @property
    def _has_room(self) -> bool:
        item = self._peek()
        if self._skips and (isinstance(item, Cut) or _is_for_training(item)):
            return True
        return super()._has_room

    def _take_up(self) -> list[Action]:
        if self._peek() is None and self._may_replay:
            return self._settle() + self._replay()
        return super()._take_up()

    def _train(self, batch: Batch) -> list[Action]:
        self._is_training = True
        is_skipped = self._is_full
        if is_skipped:
            self.skipped += 1
            batch = replace(batch, anchor=False)
        actions: list[Action] = []
        if self._replays is not None:
            actions.append(Keep(batch.batch_id, self._replays.keep(batch.batch_id)))
        actions += self._rule.on_batch(batch, has_below=self.has_below, has_above=self.has_above)
        if not is_skipped:
            return self._begin(batch, actions)
        return [*self._begin(batch, _unsent(actions)), Forget(batch.batch_id)]

    def _replay(self) -> list[Action]:
        """Learn from an earlier batch."""
        assert self._replays is not None
        self.replayed += 1
        kept_id = self._replays.draw()
        batch = Batch(-1 - kept_id, "train")
        actions = self._rule.on_batch(batch, has_below=False, has_above=self.has_above)
        return [Recall(batch.batch_id, kept_id), *_unsent(actions), Forget(batch.batch_id)]

    def _raise(self, mark: Mark) -> list[Action]:
        self._is_training = False
        return super()._raise(mark)


def _is_for_training(item: Item | None) -> bool:
    return isinstance(item, Batch) and item.purpose == "train"


def _unsent(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Send)]
