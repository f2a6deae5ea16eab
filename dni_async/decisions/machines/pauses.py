"""Where the line pauses, so that layers can change stages: when one is due, and when it is over."""

from __future__ import annotations

from collections import deque

from dni_async.decisions.actions import Action, Batch, HoldDue, HoldOver, Mark, Pause, TellPaused
from dni_async.decisions.items import Cut, Item

__all__ = ["Pauses"]


class Pauses:
    """Of the source. is_holding: the line has paused, and nothing may be taken up.

    A pause is a marker before a training batch: when it is back, nothing is in flight anywhere, and
    every stage has saved what it is. The source waits then until it is told to go on. Before the
    end of the run it waits in the same way, but nothing is saved there.
    """

    def __init__(self) -> None:
        self.is_holding = False
        self._dues: deque[HoldDue] = deque()
        self._is_placed = False  # the first of them

    def want(self, due: HoldDue) -> None:
        """One is due, behind those that are already."""
        self._dues.append(due)

    def go_on(self, over: HoldOver) -> None:
        """It is over, or was not needed: then one that is on its way holds nobody up."""
        while self._dues and self._dues[0].number <= over.number:
            self._dues.popleft()
            self.is_holding = self._is_placed = False

    def take_back(self) -> None:
        """The one that was to be raised next is not: the run is to end."""
        self._is_placed = False

    def due_before(self, item: Item) -> Pause | None:
        """The pause that item comes after, if one is due and may stand there."""
        if not self._dues or self._is_placed:
            return None
        due = self._dues[0]
        pause: Pause | None = None
        if isinstance(item, Mark):
            if item.kind == "stop" and not due.is_over:
                pause = Pause("pause", 0)
        elif _is_training(item) and item.batch_id >= due.batch_id:
            pause = Pause.before(item)
        self._is_placed = pause is not None
        return pause

    def back(self, mark: Mark) -> list[Action]:
        """A marker is back: if it is a pause that somebody waits for, the line holds."""
        if not isinstance(mark, Pause) or not self._is_placed:
            return []
        due = self._dues[0]
        if due.is_over:
            self.go_on(HoldOver(due.number))
            return []
        self.is_holding = True
        return [TellPaused(due.number, mark)]


def _is_training(item: Batch | Cut) -> bool:
    return isinstance(item, Cut) or item.purpose == "train"
