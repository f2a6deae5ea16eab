"""How far the source has come, and how long its epoch has gone on, beyond its death."""

from __future__ import annotations

from collections.abc import Callable

from dni_async.wire.messages import Progress

__all__ = ["SourceClock"]


class SourceClock:
    """Follows the source's Progress. A replacement times its epoch from when it took over; the
    seconds before that count too, those in which nobody was there among them.

    next_batch_id: where the next source goes on, the furthest that any source has told. tested_at:
    see RunConfig; what is timed are all epochs up to there.
    """

    def __init__(self, tested_at: Callable[[int], int] = lambda epoch: epoch) -> None:
        self._tested_at = tested_at
        self.next_batch_id = 0
        self._epoch = 0
        self._last: tuple[Progress, float] | None = None  # and when it was heard
        self._gaps: list[tuple[int, float, float]] = []  # epoch, its seconds, those with nobody

    @property
    def epoch(self) -> int:
        """The furthest one that any source has begun, as far as that was told."""
        return self._epoch

    def hear(self, progress: Progress, now: float) -> None:
        """The source told of itself."""
        self.reached(progress.counters.work.next_batch_id)
        self._epoch = max(self._epoch, progress.counters.work.epoch)
        self._last = (progress, now)

    def reached(self, next_batch_id: int) -> None:
        """All batches before that are done, as the end of an epoch's training tells."""
        self.next_batch_id = max(self.next_batch_id, next_batch_id)

    def took_over(self, died_at: float, now: float) -> None:
        """A replacement begins."""
        epoch, seconds = 0, 0.0
        if self._last is not None:
            told, heard_at = self._last
            work = told.counters.work
            epoch, seconds = self._tested_at(work.epoch), work.epoch_s + now - heard_at
        self._gaps.append((epoch, seconds, now - died_at))
        self._last = None

    def whole_s(self, epoch: int, seconds: float) -> float:
        """The seconds of an epoch of which the present source has trained for so many.

        Where the one before had not told of this epoch yet, its own share is not known, and only
        the time in which nobody was there is added.
        """
        gaps, self._gaps = self._gaps, []
        return seconds + sum(s if told == epoch else vacant_s for told, s, vacant_s in gaps)
