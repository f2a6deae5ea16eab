"""What all workers did when: a part of a trace, or shares of the time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dni_async.files.reading import open_regular
from dni_async.wire.foreign_text import parsed

__all__ = [
    "ACTIVATION_USES",
    "EVALUATING",
    "GRADIENT_USES",
    "MAX_DRAWN",
    "SENDING",
    "TARGET_USES",
    "UPDATING",
    "WAITING",
    "Arrow",
    "Mark",
    "Trace",
    "marks_within",
    "read_trace",
    "window_of",
]

MAX_SPANS = 400_000  # of a trace, as far as it is shown: of each stage the same part of that
# What a file that anybody wrote may raise: its place, its text, its values.
_NOT_OURS = (
    OSError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip
MAX_DRAWN = 1_500  # spans of one worker; in a window of more, shares stand for them
NUM_PIECES = 120
SENDING = ("send", "send gradient", "send credit")
GRADIENT_USES = ("backward", "carry back", "learn")  # of a returned gradient, whichever is first
ACTIVATION_USES = ("forward", "evaluate")
TARGET_USES = ("learn input",)  # of an activation, by a stage that went on without it
WAITING, EVALUATING, UPDATING = "wait", "evaluate", "optimize"


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
    """The trace that a run left, up to a bound; None where there is none that can be read.

    All stages are there, and none goes on alone: where the marks of one end early, all do.
    """
    trace = Trace()
    starts: dict[Any, tuple[float, int]] = {}
    num_tracks = 0
    try:
        with open_regular(path) as file:
            for event in _events(line.decode() for line in file):
                if event["ph"] == "M":  # in front of all marks
                    num_tracks += event["name"] == "thread_name"
                elif event["ph"] == "X":
                    marks = trace.marks.setdefault(int(event["tid"]) - 1, [])
                    if len(marks) < _room(num_tracks):
                        marks.append(_mark(event))
                elif event["ph"] == "s":
                    starts[event["id"]] = (event["ts"] / 1e6, int(event["tid"]) - 1)
                elif event["ph"] == "f" and event["id"] in starts:
                    began_s, start = starts.pop(event["id"])
                    ended = (event["ts"] / 1e6, str(event["name"]), start, int(event["tid"]) - 1)
                    trace.arrows.append(Arrow(began_s, *ended))
    except _NOT_OURS:
        return None
    for marks in trace.marks.values():
        marks.sort()
    trace.arrows.sort()
    _cut(trace, _room(num_tracks))
    return trace if trace.marks else None


def _room(num_tracks: int) -> int:
    """How many marks of each stage are read."""
    return max(1, MAX_SPANS // max(1, num_tracks))


def _cut(trace: Trace, room: int) -> None:
    """Leave out what began after the last mark of a stage that has more of them than are known."""
    ends = [marks[-1].ended_s for marks in trace.marks.values() if len(marks) >= room]
    if not ends:
        return
    known_s = min(ends)
    for marks in trace.marks.values():
        del marks[bisect_left(marks, (known_s,)) :]
    trace.arrows = [arrow for arrow in trace.arrows if arrow.ended_s < known_s]


def _events(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """One event stands on each line between the first and the last."""
    for line in lines:
        text = line.strip().rstrip(",")
        if text.startswith('{"ph"'):
            yield parsed(text)


def _mark(event: Mapping[str, Any]) -> Mark:
    began_s, said = event["ts"] / 1e6, event["args"]
    ended_s = began_s + event["dur"] / 1e6
    if not math.isfinite(began_s) or not math.isfinite(ended_s):
        raise ValueError("a mark that is at no time")
    batch, version = int(said.get("batch_id", -1)), int(said["version"])
    return Mark(began_s, ended_s, str(event["name"]), batch, version)


def window_of(trace: Trace, began_s: float, ended_s: float) -> dict[str, Any]:
    """All workers from one moment to another.

    Where few enough marks of each lie there, those and the arrows; else shares of the time in
    pieces: began, ended, busy, waiting, sending.
    """
    found = {stage: marks_within(marks, began_s, ended_s) for stage, marks in trace.marks.items()}
    if max(map(len, found.values()), default=0) > MAX_DRAWN:
        pieces = {stage: _pieces(marks, began_s, ended_s) for stage, marks in found.items()}
        return {"tracks": [{"stage": s, "pieces": p} for s, p in sorted(pieces.items())]}
    first = bisect_left(trace.arrows, (began_s - (ended_s - began_s),))
    last = bisect_left(trace.arrows, (ended_s,))
    return {
        "tracks": [{"stage": stage, "marks": marks} for stage, marks in sorted(found.items())],
        "arrows": [each for each in trace.arrows[first:last] if each.ended_s > began_s][:MAX_DRAWN],
    }


def marks_within(marks: Sequence[Mark], began_s: float, ended_s: float) -> Sequence[Mark]:
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
