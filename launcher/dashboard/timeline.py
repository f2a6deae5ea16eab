"""What all workers did when: a part of a trace, or shares of the time; and the same in lockstep."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

__all__ = [
    "Arrow",
    "Mark",
    "StageTime",
    "Trace",
    "batch_seconds",
    "in_lockstep",
    "read_trace",
    "stage_times",
    "window_of",
]

MAX_SPANS = 400_000  # of a trace, as far as it is shown
MAX_DRAWN = 1_500  # spans of one worker; in a window of more, shares stand for them
NUM_PIECES = 120
SENDING = ("send", "send gradient", "send credit")
UPWARDS = ("load", "receive", "forward", "send", "synthesize input")  # what lockstep does going up
WAITING = "wait"


class Mark(NamedTuple):
    """What a worker did from one moment to another, in seconds; batch: -1 where there is none."""

    began_s: float
    ended_s: float
    kind: str
    batch: int
    version: int


class Arrow(NamedTuple):
    """An activation or a gradient on its way from one stage to another."""

    began_s: float
    ended_s: float
    kind: str
    start: int
    end: int


class StageTime(NamedTuple):
    """Seconds that a stage works on a batch on its way up, and on its way down."""

    up_s: float
    down_s: float


@dataclass(slots=True)
class Trace:
    """Marks by stage and arrows, each in the order in which they began."""

    marks: dict[int, list[Mark]] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)

    @property
    def end_s(self) -> float:
        """When the last mark ends."""
        return max((marks[-1].ended_s for marks in self.marks.values() if marks), default=0.0)


def read_trace(path: Path) -> Trace | None:
    """The trace that a run left, up to a bound; None where there is none that can be read."""
    trace = Trace()
    starts: dict[Any, tuple[float, int]] = {}
    room = MAX_SPANS
    try:
        with path.open(encoding="utf-8") as file:
            for event in _events(file):
                if event["ph"] == "X" and room > 0:
                    room -= 1
                    trace.marks.setdefault(event["tid"] - 1, []).append(_mark(event))
                elif event["ph"] == "s":
                    starts[event["id"]] = (event["ts"] / 1e6, event["tid"] - 1)
                elif event["ph"] == "f" and event["id"] in starts:
                    began_s, start = starts.pop(event["id"])
                    ended = (event["ts"] / 1e6, str(event["name"]), start, event["tid"] - 1)
                    trace.arrows.append(Arrow(began_s, *ended))
    except (OSError, UnicodeError, KeyError, TypeError, ValueError):
        return None
    for marks in trace.marks.values():
        marks.sort()
    trace.arrows.sort()
    return trace if trace.marks else None


def _events(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """One event stands on each line between the first and the last."""
    for line in lines:
        text = line.strip().rstrip(",")
        if text.startswith('{"ph"'):
            yield json.loads(text)


def _mark(event: Mapping[str, Any]) -> Mark:
    began_s, said = event["ts"] / 1e6, event["args"]
    ended_s = began_s + event["dur"] / 1e6
    return Mark(began_s, ended_s, str(event["name"]), said.get("batch_id", -1), said["version"])


def window_of(trace: Trace, began_s: float, ended_s: float) -> dict[str, Any]:
    """All workers from one moment to another.

    Where few enough marks of each lie there, those and the arrows; else shares of the time in
    pieces: began, ended, busy, waiting, sending.
    """
    found = {stage: _within(marks, began_s, ended_s) for stage, marks in trace.marks.items()}
    if max(map(len, found.values()), default=0) > MAX_DRAWN:
        pieces = {stage: _pieces(marks, began_s, ended_s) for stage, marks in found.items()}
        return {"tracks": [{"stage": s, "pieces": p} for s, p in sorted(pieces.items())]}
    first = bisect_left(trace.arrows, (began_s - (ended_s - began_s),))
    last = bisect_left(trace.arrows, (ended_s,))
    return {
        "tracks": [{"stage": stage, "marks": marks} for stage, marks in sorted(found.items())],
        "arrows": [each for each in trace.arrows[first:last] if each.ended_s > began_s][:MAX_DRAWN],
    }


def _within(marks: Sequence[Mark], began_s: float, ended_s: float) -> Sequence[Mark]:
    """Those that lie there at least in part; a worker does one thing after another."""
    first = max(0, bisect_left(marks, (began_s,)) - 1)
    last = bisect_left(marks, (ended_s,))
    return [mark for mark in marks[first:last] if mark.ended_s > began_s]


def _pieces(marks: Sequence[Mark], began_s: float, ended_s: float) -> list[list[float]]:
    length = (ended_s - began_s) / NUM_PIECES
    spent: list[dict[str, float]] = [defaultdict(float) for _ in range(NUM_PIECES)]
    for mark in marks:
        at = max(mark.began_s, began_s)
        while at < min(mark.ended_s, ended_s) - 1e-12:
            number = min(NUM_PIECES - 1, int((at - began_s) / length + 1e-9))
            end = min(mark.ended_s, began_s + (number + 1) * length, ended_s)
            if end <= at:
                break
            spent[number][_sort(mark.kind)] += (end - at) / length
            at = end
    return [
        [
            round(began_s + number * length, 6),
            round(began_s + (number + 1) * length, 6),
            *(round(min(1.0, shares[name]), 4) for name in ("busy", "waiting", "sending")),
        ]
        for number, shares in enumerate(spent)
    ]


def _sort(kind: str) -> str:
    if kind == WAITING:
        return "waiting"
    return "sending" if kind in SENDING else "busy"


def stage_times(trace: Trace) -> list[StageTime]:
    """What each stage works on a batch, by the medians of the kinds of its marks; no tests."""
    found = []
    for _, marks in sorted(trace.marks.items()):
        tested = {mark.batch for mark in marks if mark.kind == "evaluate"}
        lengths: dict[str, list[float]] = defaultdict(list)
        for mark in marks:
            if mark.batch >= 0 and mark.batch not in tested and mark.kind != WAITING:
                lengths[mark.kind].append(mark.ended_s - mark.began_s)
        num_updates = max(1, len(lengths["optimize"]))
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


def batch_seconds(trace: Trace) -> float:
    """Seconds from one update of the last stage to the next, by the median."""
    last = trace.marks[max(trace.marks)]
    ends = [mark.ended_s for mark in last if mark.kind == "optimize"]
    return median(after - before for before, after in pairwise(ends)) if len(ends) > 1 else 0.0


def _way(times: Sequence[StageTime]) -> Iterator[tuple[int, str, float]]:
    """What one batch has done to it, in order."""
    for stage, time in enumerate(times):
        yield stage, "forward", time.up_s
    for stage, time in reversed(list(enumerate(times))):
        yield stage, "backward", time.down_s
