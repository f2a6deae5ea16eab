"""Decides for a stage that lets batches follow a marker before that has come back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from dni_async.decisions.actions import Action, Batch, Cut, Item, Mark, Pause, RaiseMarker
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.machines.markers import END, Markers

__all__ = ["UndrainedMachine"]

_Order = tuple[float, int]

_AT_ONE_BATCH: Final = ("trained", "evaluated", "pause", "stop")
MAX_MARKS: Final = 1024  # that wait: of each epoch there is a batch with a place in the window


def _but_batches(queue: Sequence[Item]) -> list[Item]:
    """The few, where a dozen batches may wait."""
    return [item for item in queue if type(item) is not Batch]


def _order(mark: Mark) -> _Order:
    """Where a marker stands among the others."""
    is_last = mark == END or (isinstance(mark, Pause) and not mark.epoch)
    return (math.inf if is_last else mark.next_batch_id), _AT_ONE_BATCH.index(mark.kind)


class _ManyMarkers(Markers):
    """Several markers are on their way at once, and come back in order.

    raised: the one that comes back next. is_awaited: of one that has just come back. Markers stand
    in an order; a stage that began in the middle counts those before its first one as passed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_their_way: deque[Mark] = deque()
        self._unawaited: set[Mark] = set()  # here or on their way, from a stage that was replaced
        self._last: _Order = (-1, 0)

    @property
    def is_ending(self) -> bool:
        return END in self.on_their_way

    @property
    def is_pausing(self) -> bool:
        """Whether a pause is on its way: nothing may follow it."""
        return any(isinstance(mark, Pause) for mark in self.on_their_way)

    def go_up(self, mark: Mark) -> None:
        self.on_their_way.append(mark)
        self.raised = self.on_their_way[0]
        self._last = max(self._last, _order(mark))

    def come_back(self, mark: Mark, stage: int, *, in_flight: Collection[int]) -> None:
        before = [each for each in in_flight if each < _order(mark)[0]]
        super().come_back(mark, stage, in_flight=before)
        self.on_their_way.popleft()
        self.raised = self.on_their_way[0] if self.on_their_way else None
        self.is_awaited = mark not in self._unawaited
        self._unawaited.discard(mark)

    def meet_new_sender(self, waiting: Iterable[Mark] = ()) -> None:
        """waiting: markers that have come and not been taken up yet."""
        self._may_repeat = True
        self._unawaited = {*self.on_their_way, *waiting}
        self._last = max([self._last, *map(_order, self._unawaited)])

    def claim(self, mark: Mark) -> bool:
        """Whether the one from below is here or on its way already; it is awaited from now on."""
        is_known = self._may_repeat and mark in self._unawaited
        self._unawaited.discard(mark)
        return is_known

    def hear_again(self, mark: Mark) -> bool:
        return self._may_repeat and self.has_passed(mark)

    def has_passed(self, mark: Mark) -> bool:
        return _order(mark) <= self._last

    def may_be_followed(self, item: Item, queue: Sequence[Item]) -> bool:
        """Whether item may come from below: all but what comes behind the end or a pause."""
        if isinstance(item, Mark):
            return sum(isinstance(each, Mark) for each in queue) < MAX_MARKS
        is_last = any(isinstance(each, Pause) or each == END for each in _but_batches(queue))
        return not (self.is_ending or self.is_pausing or is_last)


class UndrainedMachine(StageMachine):
    """A stage machine for rules that make all updates with a batch when it is taken up.

    Such a stage has done all training batches of an epoch when it takes up the marker behind them,
    whatever is still in flight. So test batches follow the marker at once, each stage evaluates
    them with the weights that it has then, and the next epoch's training batches follow them.
    Markers come down as ever, in order, each behind all gradients and credits of the batches before
    it, and are announced then.

    Nothing is in flight at a cut that belongs to an epoch before: the source makes one only while
    no marker is on its way, and lets no batch follow while one is due. So whatever is told of an
    epoch has been told before a cut behind it. A pause and the end of the run are raised only then.

    A new stage above is sent all markers once more that are on their way, in order. A new stage
    below repeats those that it was sent; where it is a new source, those that the old one may have
    raised without anybody hearing of it, also when there is nothing else to do any more: all of an
    epoch may be told but what its source says. What is here or back already does not count twice. A
    marker that it does not repeat goes its way, and is not lowered: nobody awaits it.
    """

    drains = False
    _kind_of_markers = _ManyMarkers
    _marks: _ManyMarkers

    @property
    def has_turn(self) -> bool:
        """Whether a Turn would lead to any action."""
        item = self._peek()
        if isinstance(item, Mark):
            is_free = item != END and not (isinstance(item, Pause) and not self.has_below)
            return is_free or self._marks.raised is None
        if isinstance(item, Cut) and not self.has_below and self._marks.raised is not None:
            return False
        return item is not None and self._has_room

    def _peek(self) -> Item | None:
        if self._work is not None:
            if self.is_holding or self._marks.is_pausing:
                return None
            self._work.draw(self._queue)
        return self._queue[0] if self._queue else None

    def _give_up(self) -> list[Action]:
        lost, self._in_flight = sorted(self._in_flight), set()
        actions = [action for batch_id in lost for action in self._lose_place(batch_id)]
        return [*actions, *map(RaiseMarker, self._marks.on_their_way)]

    def _accept(self, item: Item) -> list[Action]:
        if isinstance(item, Mark) and self._marks.claim(item):
            return []
        return super()._accept(item)

    def _disown(self) -> list[Action]:
        self._held, self._owed = set(), []
        self._marks.meet_new_sender(item for item in self._queue if isinstance(item, Mark))
        return []
