"""The part of a trace that stands for the whole run: one that passed as much as most do."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

from dni_async.launcher.report.html.timeline.lockstep import StageTime, batch_seconds, in_lockstep
from dni_async.launcher.report.html.timeline.recorded import (
    EVALUATING,
    UPDATING,
    Arrow,
    Mark,
    Trace,
    marks_within,
)

__all__ = ["Excerpt", "take_excerpt"]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """As long as num_lockstep batches take in lockstep; in it num_passed left the last stage.

    began_s, ended_s: seconds of the trace. marks: by stage, as recorded. lockstep: the same of
    lockstep, from the same moment on. batch: the one that arrows follow on its way; -1 if none is.
    lockstep_s, batch_s: seconds a batch in lockstep, and in the run as a whole.
    """

    began_s: float
    ended_s: float
    marks: Mapping[int, Sequence[Mark]]
    lockstep: Mapping[int, Sequence[Mark]]
    batch: int
    arrows: Sequence[Arrow]
    num_lockstep: int
    num_passed: int
    lockstep_s: float
    batch_s: float


def take_excerpt(trace: Trace, times: Sequence[StageTime], *, num_lockstep: int) -> Excerpt | None:
    """From training alone; None where no part of the run is long enough for that.

    Of all parts in which as many batches pass as in most (the median), the one that shows most of
    a batch's way up the line and of its gradient's way down; of several, the middlemost.
    """
    lockstep_s = sum(time.up_s + time.down_s for time in times)
    length_s = num_lockstep * lockstep_s
    starts = _starts(trace, length_s)
    if lockstep_s <= 0 or not starts:
        return None
    ends = [mark.ended_s for mark in _last(trace) if mark.kind == UPDATING]
    passed = {at: bisect_right(ends, at + length_s) - bisect_right(ends, at) for at in starts}
    usual = median_low(passed.values())
    ways = _Ways(trace)
    began_s = max(
        (at for at in starts if passed[at] == usual),
        key=lambda at: (len(ways.longest(at, at + length_s)[1]), -abs(at - trace.end_s / 2)),
    )
    ended_s = began_s + length_s
    batch, arrows = ways.longest(began_s, ended_s)
    return Excerpt(
        began_s=began_s,
        ended_s=ended_s,
        marks={
            stage: marks_within(marks, began_s, ended_s)
            for stage, marks in sorted(trace.marks.items())
        },
        lockstep=_lockstep(trace, times, began_s, ended_s),
        batch=batch,
        arrows=arrows,
        num_lockstep=num_lockstep,
        num_passed=usual,
        lockstep_s=lockstep_s,
        batch_s=batch_seconds(trace),
    )


def _last(trace: Trace) -> Sequence[Mark]:
    return trace.marks[max(trace.marks)]


def _starts(trace: Trace, length_s: float) -> list[float]:
    """Ends of updates of the last stage after which it trains for that long at least."""
    starts: list[float] = []
    stretch: list[float] = []
    for mark in (*_last(trace), None):
        if mark is not None and mark.kind == UPDATING:
            stretch.append(mark.ended_s)
        elif mark is None or mark.kind == EVALUATING:
            starts += [at for at in stretch if at + length_s <= stretch[-1]]
            stretch = []
    return starts


class _Ways:
    """The arrows of each batch, in order; the batches as their first arrows began."""

    def __init__(self, trace: Trace) -> None:
        ways: dict[int, list[Arrow]] = defaultdict(list)
        for arrow in trace.arrows:
            marks = trace.marks.get(arrow.start, [])
            at = bisect_right(marks, (arrow.began_s,)) - 1
            if at >= 0:
                ways[marks[at].batch].append(arrow)
        self._ways = list(ways.items())
        self._began_s = [way[0].began_s for _, way in self._ways]
        self._most_s = max((way[-1].ended_s - way[0].began_s for _, way in self._ways), default=0.0)

    def longest(self, began_s: float, ended_s: float) -> tuple[int, Sequence[Arrow]]:
        """The batch of which most arrows lie there, and these; -1 where no arrow does."""
        first = bisect_left(self._began_s, began_s - self._most_s)
        last = bisect_left(self._began_s, ended_s)
        found = [
            (batch, [each for each in way if began_s < each.began_s and each.ended_s < ended_s])
            for batch, way in self._ways[first:last]
            if way[-1].ended_s > began_s
        ]
        return max(found, key=lambda each: len(each[1]), default=(-1, []))


def _lockstep(
    trace: Trace, times: Sequence[StageTime], began_s: float, ended_s: float
) -> dict[int, list[Mark]]:
    """Batches that lie there whole."""
    tracks = in_lockstep(times, began_s, ended_s)["tracks"]
    half_s = min(time.up_s + time.down_s for time in times) / 2
    return {
        stage: [mark for mark in track["marks"] if mark.began_s < ended_s - half_s]
        for stage, track in zip(sorted(trace.marks), tracks, strict=True)
    }
