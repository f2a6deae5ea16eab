"""So many at once, and so many a second in the long run. No clock."""

from __future__ import annotations

__all__ = ["Allowance"]


class Allowance:
    """What is left of burst, which comes back at per_s a second; below 0 it is owed."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst = self._left = float(burst)
        self._per_s = per_s
        self._at: float | None = None

    def left(self, now: float) -> float:
        """How many may still be by now; now: in seconds, never less than before."""
        since = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._left = min(self._burst, self._left + since * self._per_s)
        return self._left

    def spend(self, count: float) -> float:
        """So many more have been; what is left then."""
        self._left -= count
        return self._left

    def take(self, now: float) -> bool:
        """Whether one more may be; it is spent then."""
        if self.left(now) < 1.0:
            return False
        self.spend(1.0)
        return True
