"""How stale returned gradients were when they were used, as counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from dni_async.wire.counters import StaleGradients

__all__ = ["Staleness"]


class Staleness:
    """Counts by staleness: a stage's updates from a batch's forward to the use of its gradient."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    @property
    def total(self) -> tuple[int, int]:
        """All of it together, and how many gradients that is."""
        counts = self._counts
        return sum(staleness * times for staleness, times in counts.items()), counts.total()

    def add(self, staleness: int) -> None:
        """One gradient was used."""
        self._counts[staleness] += 1

    @property
    def max(self) -> int:
        """The largest that was seen; 0 if none."""
        return max(self._counts, default=0)

    def at(self, share: float) -> int:
        """The staleness that this share of all gradients did not exceed; 0 if none."""
        need = share * self._counts.total()
        seen = 0
        for staleness in sorted(self._counts):
            seen += self._counts[staleness]
            if seen >= need:
                return staleness
        return 0

    def figures(self) -> StaleGradients:
        """What the coordinator is told of them."""
        return StaleGradients(self.max, self.at(0.5), self.at(0.99))

    def state(self) -> list[tuple[int, int]]:
        """Each staleness that was seen, and how often."""
        return sorted(self._counts.items())

    def restore(self, state: Iterable[tuple[int, int]]) -> None:
        """Go on from a state."""
        self._counts = Counter(dict(state))

    def clear(self) -> None:
        """Begin anew."""
        self._counts.clear()
