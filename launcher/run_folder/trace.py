"""Lay the spans of all workers on one time line, in the Chrome trace-event format.

Every worker is a track of complete events ("X"). Arrows ("s", "t", "f") follow an activation from
its sending to the forward of the stage above (or, where that one predicts its inputs, to what it
learns from it), and a returned gradient from its sending to the place where it is used below.
Counters ("C") are what was in flight to the stage above, and how stale returned gradients were.
Times are microseconds since the earliest span.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from dni_async.files import names
from dni_async.files.reading import read_bounded
from dni_async.files.writing import whole
from dni_async.launcher.report.html.timeline.recorded import (
    ACTIVATION_USES,
    GRADIENT_USES,
    TARGET_USES,
)

__all__ = [
    "Count",
    "Span",
    "WorkerSpans",
    "phase_seconds",
    "read_spans",
    "trace_events",
    "write_trace",
]

PROCESS = 1  # all tracks lie in one group
MAX_SPANS_BYTES = 2**30
_WORDS = re.compile(r"[a-z0-9: ]{1,40}")  # kinds, and devices
INSIDE_NS = 1000  # an arrow's end lies this far within its span, clear of the neighbouring ones


class Span(NamedTuple):
    """One thing that a worker did; batch_id is negative where there is none."""

    kind: str
    batch_id: int
    version: int
    began_ns: int
    ended_ns: int


class Count(NamedTuple):
    """What a count of a worker came to at a moment."""

    kind: str
    value: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class WorkerSpans:
    """What one worker recorded, in order; dropped counts the spans that came after."""

    stage: int
    pid: int
    device: str
    dropped: int
    spans: Sequence[Span]
    counts: Sequence[Count] = ()


def read_spans(folder: Path, note: Callable[[str], None]) -> list[WorkerSpans]:
    """What the workers left in folder, by stage; note is told of what is no such file."""
    found = []
    for path in folder.glob(names.spans("*")):
        try:
            found.append(_spans_in(path))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or error
            note(f"{path.name} is not what a worker records, and left out of the trace: {reason}")
    return sorted(found, key=lambda worker: worker.stage)


def _spans_in(path: Path) -> WorkerSpans:
    """Raises OSError, ValueError, KeyError, TypeError."""
    left = json.loads(read_bounded(path, MAX_SPANS_BYTES))
    worker = WorkerSpans(
        **_checked(left, {"stage": int, "pid": int, "device": str, "dropped": int}),
        spans=[Span(*_row(values, Span)) for values in left["spans"]],
        counts=tuple(Count(*_row(values, Count)) for values in left["counts"]),
    )
    if path.name != names.spans(worker.stage) or not _WORDS.fullmatch(worker.device):
        raise ValueError(f"stage {worker.stage} on {worker.device!r:.40} is another")
    return worker


def _checked(left: Any, kinds: Mapping[str, type]) -> dict[str, Any]:
    for name, kind in kinds.items():
        if type(left[name]) is not kind:
            raise TypeError(f"{name} is {left[name]!r:.40}")
    return {name: left[name] for name in kinds}


def _row(values: Any, kind: type[Span] | type[Count]) -> Sequence[Any]:
    """A name and whole numbers."""
    name, *numbers = values
    is_ours = len(values) == len(kind._fields) and {*map(type, numbers)} == {int}
    if not is_ours or not _WORDS.fullmatch(name):
        raise ValueError(f"{values!r:.60} is none of ours")
    return [name, *numbers]


def phase_seconds(worker: WorkerSpans) -> dict[str, float]:
    """Seconds per update by kind of span, without waiting and without all that evaluates."""
    evaluated = {span.batch_id for span in worker.spans if span.kind == "evaluate"}
    total_ns: dict[str, int] = defaultdict(int)
    num_updates = 0
    for span in worker.spans:
        if span.batch_id >= 0 and span.batch_id not in evaluated:
            total_ns[span.kind] += span.ended_ns - span.began_ns
            num_updates += span.kind == "optimize"
    if num_updates == 0:
        return {}
    return {kind: total / num_updates / 1e9 for kind, total in total_ns.items()}


def write_trace(path: Path, workers: Sequence[WorkerSpans]) -> None:
    """Write trace_events as one JSON object, whole or not at all."""
    with whole(path) as part, part.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[')
        separator = "\n"
        for event in trace_events(workers):
            file.write(separator + json.dumps(event, separators=(",", ":")))
            separator = ",\n"
        file.write("\n]}\n")


def trace_events(workers: Sequence[WorkerSpans]) -> Iterator[dict[str, Any]]:
    """Every event of the trace: the tracks' names, spans, counters, the arrows between stages."""
    origin_ns = min((w.spans[0].began_ns for w in workers if w.spans), default=0)
    yield _metadata("process_name", 0, name="dni-async")
    for worker in workers:
        name = f"stage {worker.stage} ({worker.device}, pid {worker.pid})"
        yield _metadata("thread_name", _track(worker), name=name)
        yield _metadata("thread_sort_index", _track(worker), sort_index=worker.stage)
    for worker in workers:
        for span in worker.spans:
            yield _complete(worker, span, origin_ns)
        for count_of in worker.counts:
            yield _counter(worker, count_of, origin_ns)
    ids = count(1)
    by_stage = {worker.stage: worker for worker in workers}
    for lower in workers:
        upper = by_stage.get(lower.stage + 1)
        if upper is None:
            continue
        for name, points in _ways(lower, upper):
            yield from _arrow(name, next(ids), points, origin_ns)


Point = tuple[WorkerSpans, Span]


def _ways(lower: WorkerSpans, upper: WorkerSpans) -> Iterator[tuple[str, list[Point]]]:
    """The way of each activation up and of each gradient down, where both ends were recorded."""
    below, above = _by_batch(lower), _by_batch(upper)
    for batch_id, down_here in below.items():
        up_there = above.get(batch_id, [])
        is_target = any(span.kind in TARGET_USES for span in up_there)
        uses = TARGET_USES if is_target else ACTIVATION_USES
        up = _way(down_here, "send", up_there, "receive", uses)
        if up:
            yield "activation", [(lower, up[0]), *((upper, span) for span in up[1:])]
        down = _way(up_there, "send gradient", down_here, "receive gradient", GRADIENT_USES)
        if down:
            yield "gradient", [(upper, down[0]), *((lower, span) for span in down[1:])]


def _way(
    sender: Sequence[Span], sent: str, receiver: Sequence[Span], received: str, used: Sequence[str]
) -> list[Span]:
    """From the sending over the receipt to the use; empty if one of them is missing."""
    start = next((span for span in sender if span.kind == sent), None)
    middle = next((span for span in receiver if span.kind == received), None)
    if start is None or middle is None:
        return []
    end = next((s for s in receiver if s.kind in used and s.began_ns >= middle.ended_ns), None)
    return [] if end is None else [start, middle, end]


def _by_batch(worker: WorkerSpans) -> dict[int, list[Span]]:
    batches: dict[int, list[Span]] = defaultdict(list)
    for span in worker.spans:
        if span.batch_id >= 0:
            batches[span.batch_id].append(span)
    return batches


def _arrow(
    name: str, arrow_id: int, points: Sequence[Point], origin_ns: int
) -> Iterator[dict[str, Any]]:
    """The events of one arrow: from early in the sending, past the receipt, to its use.

    What arrives may be read before the sending call returns, but never before it has begun.
    """
    phases = ["s", *"t" * (len(points) - 2), "f"]
    for phase, (worker, span) in zip(phases, points, strict=True):
        within = min(INSIDE_NS, (span.ended_ns - span.began_ns) // 2)
        at_ns = span.ended_ns - within if phase == "t" else span.began_ns + within
        event = {
            "ph": phase,
            "name": name,
            "cat": name,
            "id": arrow_id,
            "pid": PROCESS,
            "tid": _track(worker),
            "ts": (at_ns - origin_ns) / 1000,
        }
        yield {**event, "bp": "e"} if phase == "f" else event


def _complete(worker: WorkerSpans, span: Span, origin_ns: int) -> dict[str, Any]:
    args = {"version": span.version}
    if span.batch_id >= 0:
        args = {"batch_id": span.batch_id, **args}
    return {
        "ph": "X",
        "name": span.kind,
        "cat": "stage",
        "pid": PROCESS,
        "tid": _track(worker),
        "ts": (span.began_ns - origin_ns) / 1000,
        "dur": (span.ended_ns - span.began_ns) / 1000,
        "args": args,
    }


def _counter(worker: WorkerSpans, count_of: Count, origin_ns: int) -> dict[str, Any]:
    """A counter belongs to the whole group, so that its name tells the stage."""
    return {
        "ph": "C",
        "name": f"stage {worker.stage} {count_of.kind}",
        "pid": PROCESS,
        "tid": _track(worker),
        "ts": (count_of.at_ns - origin_ns) / 1000,
        "args": {count_of.kind: count_of.value},
    }


def _metadata(kind: str, track: int, **args: str | int) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": PROCESS, "tid": track, "args": args}


def _track(worker: WorkerSpans) -> int:
    return worker.stage + 1  # 0 is the group's own
