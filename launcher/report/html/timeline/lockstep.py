"""The work of a run in lockstep: one batch in the line, by the times that its stages took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

from dni_async.launcher.report.ceiling import measure_line
from dni_async.launcher.report.html.timeline.recorded import (
    EVALUATING,
    MAX_DRAWN,
    UPDATING,
    WAITING,
    Mark,
    Trace,
)

__all__ = ["StageTime", "batch_seconds", "in_lockstep", "lockstep_times", "stage_times"]

UPWARDS = ("load", "receive", "forward", "send", "synthesize input")  # what lockstep does going up


class StageTime(NamedTuple):
    """Seconds that a stage works on a batch on its way up, and on its way down."""

    up_s: float
    down_s: float


def stage_times(trace: Trace) -> list[StageTime]:
    """What each stage works on a batch, by the medians of the kinds of its marks; no tests."""
    found = []
    for _, marks in sorted(trace.marks.items()):
        tested = {mark.batch for mark in marks if mark.kind == EVALUATING}
        lengths: dict[str, list[float]] = defaultdict(list)
        for mark in marks:
            if mark.batch >= 0 and mark.batch not in tested and mark.kind != WAITING:
                lengths[mark.kind].append(mark.ended_s - mark.began_s)
        num_updates = max(1, len(lengths[UPDATING]))
        each = {  # rare kinds, such as those of anchors, count by how often they come
            kind: median(all_s) * min(1.0, len(all_s) / num_updates)
            for kind, all_s in lengths.items()
            if all_s
        }
        up_s = sum(seconds for kind, seconds in each.items() if kind in UPWARDS)
        found.append(StageTime(up_s, sum(each.values()) - up_s))
    return found


def in_lockstep(times: Sequence[StageTime], began_s: float, ended_s: float) -> dict[str, Any]:
    """The same stage times with one batch in the line: up through all stages, then down again.

    As window_of gives it. Passing a batch on takes no time here, which flatters lockstep.
    """
    period_s = sum(time.up_s + time.down_s for time in times)
    if period_s <= 0:
        return {"tracks": [], "period_s": 0.0}
    if (ended_s - began_s) / period_s * 2 > MAX_DRAWN / 4:
        shares = [(time.up_s + time.down_s) / period_s for time in times]
        tracks = [
            {"stage": stage, "pieces": [[began_s, ended_s, round(s, 4), round(1 - s, 4), 0.0]]}
            for stage, s in enumerate(shares)
        ]
        return {"tracks": tracks, "period_s": period_s}
    marks: list[list[Mark]] = [[] for _ in times]
    batch, at = 0, began_s
    while at < ended_s:
        for stage, kind, seconds in _way(times):
            marks[stage].append(Mark(at, at + seconds, kind, batch, batch))
            at += seconds
        batch += 1
    tracks = [{"stage": stage, "marks": each} for stage, each in enumerate(marks)]
    return {"tracks": tracks, "period_s": period_s, "arrows": []}


def lockstep_times(trace: Trace, report: Mapping[str, Any] | None) -> list[StageTime]:
    """Stage times of a trace as they are where one stage at a time works.

    Where more threads computed than there are cores, a mark also holds its waiting for a core: such
    a stage takes at most what its report says of it, by processor time.
    """
    line = None if report is None else measure_line(report)
    most = {} if line is None else {load.stage: load.batch_seconds for load in line.loads}
    times = dict(zip(sorted(trace.marks), stage_times(trace), strict=True))
    found = []
    for stage, time in times.items():
        works_s = time.up_s + time.down_s
        part = min(1.0, most.get(stage, works_s) / works_s) if works_s > 0 else 1.0
        found.append(StageTime(time.up_s * part, time.down_s * part))
    return found


def batch_seconds(trace: Trace) -> float:
    """Seconds from one update of the last stage to the next, the mean; nothing of tests."""
    gaps: list[float] = []
    before_s = None
    for mark in trace.marks[max(trace.marks)]:
        if mark.kind == EVALUATING:
            before_s = None
        elif mark.kind == UPDATING:
            gaps += [] if before_s is None else [mark.ended_s - before_s]
            before_s = mark.ended_s
    return fmean(gaps) if gaps else 0.0


def _way(times: Sequence[StageTime]) -> Iterator[tuple[int, str, float]]:
    """What one batch has done to it, in order."""
    for stage, time in enumerate(times):
        yield stage, "forward", time.up_s
    for stage, time in reversed(list(enumerate(times))):
        yield stage, "backward", time.down_s
