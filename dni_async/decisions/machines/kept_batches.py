"""Which of the inputs seen last are learnt from once more while nothing new arrives."""

from __future__ import annotations

__all__ = ["ReplayBuffer"]


class ReplayBuffer:
    """The last few batches, each with a count of its replays.

    The batch replayed least comes next, and of several the newest: asynchronous decoupled greedy
    learning (Belilovsky et al. 2019, 1901.08164, section 2.3). That work lets a module replay
    without end; here a batch is replayed ``limit`` times at most, for a stage whose neighbour is
    gone would learn a handful of batches by heart.
    """

    def __init__(self, places: int, limit: int) -> None:
        self._places = places
        self._limit = limit
        self._replays: dict[int, int] = {}  # by batch id, oldest first

    @property
    def has_more(self) -> bool:
        """Whether draw may be called."""
        return any(count < self._limit for count in self._replays.values())

    def keep(self, batch_id: int) -> int | None:
        """Take batch_id in; the batch that gives way, if one must."""
        oldest = next(iter(self._replays)) if len(self._replays) == self._places else None
        if oldest is not None:
            del self._replays[oldest]
        self._replays[batch_id] = 0
        return oldest

    def draw(self) -> int:
        """The batch to replay now."""
        chosen = min(reversed(self._replays), key=self._replays.__getitem__)
        self._replays[chosen] += 1
        return chosen
