"""How fast a worker works, from two of its reports; and a past that stays short however long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dni_async.wire.counters import Counters

__all__ = ["ROW", "History", "Pace", "pace_between", "row_of"]

MAX_ROWS = 320  # of a stage's history; from there on every second one goes
ROW = (
    "seconds", "busy", "waiting", "sending", "window", "staleness", "memory_mb", "credit_ms",
    "loss",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pace:
    """What a worker did between two reports, by its own clock.

    busy, waiting, sending: shares of that time, 1 together; held: the part of it in which only a
    full window held the next batch back. cores: kept busy on average. The rest is per second:
    updates, activations sent up, and bytes both ways over the link above.
    """

    seconds: float
    busy: float
    waiting: float
    sending: float
    held: float
    cores: float
    updates: float
    activations: float
    up_bytes: float
    down_bytes: float


def pace_between(before: Counters, now: Counters) -> Pace | None:
    """The pace from one to the other; None if no time lies between, or another worker began."""
    past, times = before.times, now.times
    seconds = times.total_s - past.total_s
    updates = now.work.updates - before.work.updates
    if seconds <= 0.01 or updates < 0:
        return None
    return Pace(
        seconds=seconds,
        busy=max(0.0, times.busy_s - past.busy_s) / seconds,
        waiting=max(0.0, times.waiting_s - past.waiting_s) / seconds,
        sending=max(0.0, times.sending_s - past.sending_s) / seconds,
        held=max(0.0, times.credit_waiting_s - past.credit_waiting_s) / seconds,
        cores=max(0.0, times.train_cpu_s - past.train_cpu_s) / seconds,
        updates=updates / seconds,
        activations=max(0, now.link.activations - before.link.activations) / seconds,
        up_bytes=max(0, now.link.up_bytes - before.link.up_bytes) / seconds,
        down_bytes=max(0, now.link.down_bytes - before.link.down_bytes) / seconds,
    )


def row_of(at_s: float, pace: Pace, now: Counters) -> list[float | None]:
    """A row of a stage's history, with the columns of ROW.

    window: how full it is, 0 to 1. loss: the head's mean of the epoch that goes on.
    """
    link = now.link
    return [
        round(at_s, 3),
        round(pace.busy, 4),
        round(pace.waiting, 4),
        round(pace.sending, 4),
        round(min(1.0, link.in_flight / link.window), 4) if link.window else None,
        now.staleness.staleness_median,
        round(now.memory.rss_bytes / 2**20, 1),
        round(link.credit_s * 1000, 4) if link.credit_s >= 0 else None,
        now.work.loss if now.work.loss >= 0 else None,
    ]


class History:
    """Rows in the order they came, thinned evenly as they become many."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._rows: list[Sequence[float | None]] = []
        self._each = 1
        self._seen = 0

    def add(self, row: Sequence[float | None]) -> None:
        """Keep the row, if it is its turn."""
        self._seen += 1
        if (self._seen - 1) % self._each:
            return
        self._rows.append(row)
        if len(self._rows) >= self._max_rows:
            self._rows = self._rows[::2]
            self._each *= 2

    def rows(self) -> list[Sequence[float | None]]:
        """Those that are kept."""
        return list(self._rows)
