"""The marker on its way through a stage, and those that have passed it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from dni_async.decisions.actions import Item, Mark
from dni_async.errors import LinkError

__all__ = ["END", "Markers"]

# Of the run. It has no epoch: who takes the source's place does not know after which one it ends.
END: Final = Mark("stop", 0)


class Markers:
    """At most one marker is on its way: from when the stage raises it until it is back.

    raised: that one. is_awaited: whether the stage below waits for it; not if that stage has been
    replaced since. The new one raises it once more, or one that is back already.
    """

    def __init__(self) -> None:
        self.raised: Mark | None = None
        self.is_awaited = True
        self._passed: set[Mark] = set()
        self._may_repeat = False

    @property
    def is_ending(self) -> bool:
        """Whether the one on its way is the last of the run."""
        return self.raised is not None and self.raised.kind == "stop"

    def go_up(self, mark: Mark) -> None:
        """The stage raises it."""
        self.raised, self.is_awaited = mark, True

    def come_back(self, mark: Mark, stage: int, *, in_flight: Collection[int]) -> None:
        """It is back from above, to that stage. Raises LinkError if it may not be."""
        if mark != self.raised or in_flight:
            raise LinkError(
                f"stage {stage}: {mark} came back while {self.raised} was awaited "
                f"and {len(in_flight)} batches were in flight"
            )
        self.raised = None
        self._passed.add(mark)

    def has_passed(self, mark: Mark) -> bool:
        """Whether it came back to this stage itself."""
        return mark in self._passed

    def meet_new_sender(self) -> None:
        """The stage below has been replaced: until its first batch it may repeat markers."""
        self._may_repeat, self.is_awaited = True, self.raised is None

    def hear_batch(self) -> None:
        """The stage below sent a batch: it is past all that it had to repeat."""
        self._may_repeat = False

    def hear_again(self, mark: Mark) -> bool:
        """Whether this is a repetition, of one that is back or of the one on its way.

        That one is awaited from now on.
        """
        if not self._may_repeat:
            return False
        if mark == self.raised and not self.is_awaited:
            self.is_awaited = True
            return True
        return mark in self._passed

    def may_be_followed(self, item: Item, queue: Sequence[Item]) -> bool:
        """Whether item may come from below, behind queue: nothing, as long as one is on its way.

        But a new source that is told to end raises its end at once, which waits then.
        """
        is_disowned = self._may_repeat and not self.is_awaited
        may_wait = self.raised is None or (isinstance(item, Mark) and is_disowned)
        return may_wait and not (queue and isinstance(queue[-1], Mark))
