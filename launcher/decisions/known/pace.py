"""What each stage takes for a batch now, by what its worker counts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dni_async.wire.messages import Progress

__all__ = ["Pace", "Paces"]

SPAN_S = 1.0  # over which a pace is taken, or longer:
LEAST_UPDATES = 4  # as many as it takes to make so many


@dataclass(frozen=True, slots=True)
class _Look:
    """at: when it was heard. busy_s: of training, sending included."""

    at: float
    busy_s: float
    updates: int


@dataclass(frozen=True, slots=True)
class Pace:
    """batch_s: seconds for a batch. share: of the time in which it was busy."""

    batch_s: float
    share: float


class Paces:
    """Of all stages; a worker that is replaced, or holds other layers, begins anew."""

    def __init__(self, num_stages: int) -> None:
        self._looks: list[deque[_Look]] = [deque() for _ in range(num_stages)]

    def hear(self, progress: Progress, now: float) -> None:
        """A worker's counters."""
        times, looks = progress.counters.times, self._looks[progress.stage]
        busy_s = times.train_busy_s + times.train_sending_s
        look = _Look(now, busy_s, progress.counters.work.updates)
        if looks and (look.updates < looks[-1].updates or look.busy_s < looks[-1].busy_s):
            looks.clear()
        looks.append(look)
        while len(looks) > 2 and self._is_enough(looks[1], looks[-1]):
            looks.popleft()

    def begin(self) -> None:
        """What was before says nothing of what comes."""
        for looks in self._looks:
            looks.clear()

    def seconds(self) -> list[Pace] | None:
        """The pace of each; None while that is not known of all, over the whole span."""
        found = []
        for looks in self._looks:
            if not looks or not self._is_enough(looks[0], looks[-1]):
                return None
            first, last = looks[0], looks[-1]
            seconds = last.busy_s - first.busy_s
            if seconds <= 0:
                return None
            share = seconds / (last.at - first.at)
            found.append(Pace(seconds / (last.updates - first.updates), share))
        return found

    def _is_enough(self, first: _Look, last: _Look) -> bool:
        """Whether a pace may be taken from one to the other."""
        return last.at - first.at >= SPAN_S and last.updates - first.updates >= LEAST_UPDATES
