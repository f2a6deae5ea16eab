"""The source's order of work, with cuts and pauses put in their places."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain, takewhile

from dni_async.decisions.actions import (
    Batch,
    Cut,
    Drained,
    HoldDue,
    HoldOver,
    Item,
    Mark,
    Pause,
    Wish,
)
from dni_async.decisions.machines.cuts import Cuts
from dni_async.decisions.machines.markers import END
from dni_async.decisions.machines.pauses import Pauses

__all__ = ["SourceWork"]


class SourceWork:
    """What is still to be taken up.

    items: as schedule.plan_work has them, from the first on. repeats_to: markers before the batch
    with that id are raised even where the run ends early: the source before may have raised them
    unheard.
    """

    def __init__(self, items: Iterator[Item], cuts: Cuts, repeats_to: int) -> None:
        self.pauses = Pauses()
        self._items = items
        self._cuts = cuts
        self._repeats_to = repeats_to

    def draw(self, queue: deque[Item]) -> None:
        """Have the next item in the queue, behind a pause or a cut if one is due there."""
        self.draw_plain(queue)
        if not queue:
            return
        if isinstance(queue[0], Mark):
            self._pause_before_end(queue)
            return
        item = queue[0]
        if self._cuts.may_stand_before(item) and (pause := self.pauses.due_before(item)):
            queue.appendleft(pause)
        elif isinstance(item, Batch) and (cut := self._cuts.due_before(item)):
            queue.appendleft(cut)

    def draw_plain(self, queue: deque[Item]) -> None:
        """The same without a pause or a cut that is due."""
        while not queue or self._was_saved(queue[0]):
            queue.clear()
            item = next(self._items, None)
            if item is None:
                return
            queue.append(item)

    def heed(self, wish: Wish, queue: deque[Item], *, has_end: bool) -> None:
        """What matters to later turns alone; has_end: the end of the run is on its way already."""
        match wish:
            case Drained():  # what has not been begun is given up
                self._end_early(queue, has_end=has_end)
            case HoldDue():
                self.pauses.want(wish)
            case HoldOver():
                self.pauses.go_on(wish)

    def _end_early(self, queue: deque[Item], *, has_end: bool) -> None:
        """Put the end of the run in the place of all work that has not been begun."""
        repeated = list(takewhile(self._is_repeated, chain(queue, self._items)))
        if queue and isinstance(queue[0], Pause):
            self.pauses.take_back()
        queue.clear()
        self._items = iter([*repeated, *([] if has_end else [END])])

    def _is_repeated(self, item: Item) -> bool:
        """Whether it is a marker that the source before this one may have raised unheard."""
        if not isinstance(item, Mark) or isinstance(item, Pause) or item == END:
            return False
        return item.next_batch_id <= self._repeats_to

    def _was_saved(self, item: Item) -> bool:
        """Whether it is a cut where a pause has been, at which all was saved."""
        return isinstance(item, Cut) and self._cuts.has_taken(item)

    def _pause_before_end(self, queue: deque[Item]) -> None:
        if pause := self.pauses.due_before(queue[0]):
            queue.appendleft(pause)
