"""How long a link's places stay taken: from the sending of an activation to its release."""

from __future__ import annotations

from collections import deque
from statistics import median

__all__ = ["RoundTrips"]

NUM_RECENT = 1024


class RoundTrips:
    """Times of one outbox, all of one clock, in seconds.

    num_sent, num_released: activations so far; sum_s: of the round trips of the latter.
    """

    def __init__(self) -> None:
        self.num_sent = 0
        self.num_released = 0
        self.sum_s = 0.0
        self._sent_at: dict[int, float] = {}
        self._recent: deque[float] = deque(maxlen=NUM_RECENT)
        self._least_s = -1.0
        self._in_flight_s = 0.0
        self._since = 0.0

    def sent(self, batch_id: int, now: float) -> None:
        """An activation has been handed to the link."""
        if not self._sent_at:
            self._since = now
        self._sent_at[batch_id] = now
        self.num_sent += 1

    def released(self, batch_id: int, now: float) -> None:
        """Its gradient or its credit is here; of a batch that is not in flight it is ignored."""
        sent_at = self._sent_at.pop(batch_id, None)
        if sent_at is None:
            return
        trip_s = now - sent_at
        self._recent.append(trip_s)
        self.num_released += 1
        self.sum_s += trip_s
        self._least_s = trip_s if self._least_s < 0 else min(trip_s, self._least_s)
        if not self._sent_at:
            self._in_flight_s += now - self._since

    def lose(self, now: float) -> None:
        """The link is made anew: what was in flight is never answered."""
        if self._sent_at:
            self._in_flight_s += now - self._since
            self._sent_at.clear()

    def in_flight_s(self, now: float) -> float:
        """Seconds so far in which at least one activation was in flight."""
        return self._in_flight_s + (now - self._since if self._sent_at else 0.0)

    @property
    def num_in_flight(self) -> int:
        """Activations whose places are not free yet."""
        return len(self._sent_at)

    @property
    def median_s(self) -> float:
        """Of the last 1,024 round trips; -1 before the first."""
        return median(self._recent) if self._recent else -1.0

    @property
    def least_s(self) -> float:
        """The shortest of all; -1 before the first."""
        return self._least_s
