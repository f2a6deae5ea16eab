"""Where the work of a stage is cut for checkpoints: when one is due, and where tests have ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dni_async.decisions.actions import Batch, Cut, Item, Mark, Pause
from dni_async.errors import LinkError

__all__ = ["MAX_CUTS", "Cuts", "check_waiting"]

MAX_CUTS: Final = 256  # that wait: between two there are batches, but for those that are skipped


class Cuts:
    """The cuts of one stage.

    saves_tests: whether one is wanted where a test has ended, so that a checkpoint holds what was
    tested. Nothing is in flight then and the stage trains on only when the marker has gone down, so
    this cut needs not travel: the marker has.
    """

    def __init__(self) -> None:
        self.saves_tests = False
        self._is_due = False
        self._at = -1  # the batch behind the last cut: two there would write the same files

    def want(self) -> None:
        """One is due before the next training batch."""
        self._is_due = True

    def due_before(self, item: Batch) -> Cut | None:
        """Source: the cut that item comes after, if one is due and may stand there."""
        if not self._is_due or item.purpose != "train" or not self.may_stand_before(item):
            return None
        self._is_due = False
        return Cut.before(item)

    def may_stand_before(self, item: Batch | Cut) -> bool:
        """Whether nothing has been saved there: of one batch the same files would be written."""
        if item.batch_id == self._at:
            return False
        return not (self.saves_tests and item.index == 0)  # where all have saved what was tested

    def has_taken(self, cut: Cut) -> bool:
        """Whether the stage was saved there."""
        return cut.batch_id == self._at

    def take(self, cut: Cut) -> None:
        """The stage saves what it is at the cut."""
        self._at = cut.batch_id

    def behind(self, mark: Mark, *, has_tested: bool) -> Cut | None:
        """The cut at a marker that is back: of a pause, or the end of a test where these are saved.

        has_tested: whether the stage was there from the beginning of that test; one that has taken
        another's place in the middle is not what was tested.
        """
        if isinstance(mark, Pause):
            self._at = mark.next_batch_id if mark.epoch else self._at
            return Cut(mark.next_batch_id, mark.epoch, mark.index) if mark.epoch else None
        if not self.saves_tests or mark.kind != "evaluated" or not has_tested:
            return None
        return Cut(mark.next_batch_id, mark.epoch + 1, 0)


def check_waiting(queue: Iterable[Item], *, below: int) -> None:
    """Raise LinkError where stage below has sent more cuts than may wait: they need no place."""
    if sum(isinstance(each, Cut) for each in queue) >= MAX_CUTS:
        raise LinkError(f"stage {below} sent {MAX_CUTS} cuts past one another")
