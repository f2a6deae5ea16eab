"""How far the source has come, and how long its epoch has gone on, beyond its death."""

from __future__ import annotations

from dni_async.messages import Progress

__all__ = ["SourceClock"]


class SourceClock:
    """Follows the source's Progress. A replacement times its epoch from when it took over; the
    seconds before that count too, those in which nobody was there among them.

    next_batch_id: the furthest that any source has told.
    """

    def __init__(self) -> None:
        self.next_batch_id = 0
        self._last: Progress | None = None
        self._heard_at = 0.0
        self._lost_s: dict[int, float] = {}

    def hear(self, progress: Progress, now: float) -> None:
        """The source told of itself."""
        self.next_batch_id = max(self.next_batch_id, progress.next_batch_id)
        self._last, self._heard_at = progress, now

    def took_over(self, now: float) -> None:
        """A replacement begins."""
        if self._last is None:
            return
        seconds = self._last.epoch_s + now - self._heard_at
        self._lost_s[self._last.epoch] = self.lost_s(self._last.epoch) + seconds
        self._last = None

    def lost_s(self, epoch: int) -> float:
        """Seconds of the epoch's training before the present source took over."""
        return self._lost_s.get(epoch, 0.0)
