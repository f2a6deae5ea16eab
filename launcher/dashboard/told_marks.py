"""What the workers of a run that goes on did last, mark by mark, where it is profiled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dni_async.files import names
from dni_async.launcher.report.html.timeline.recorded import Arrow, Mark, Trace

__all__ = ["read_told", "told_window"]

MAX_BYTES = 64 * 2**10  # of a worker's file: its last 1,300 marks or so
LAST_S = 10.0
LATE_S = 1.5  # a worker that tells nothing for so long is not waited for
USES = ("backward", "carry back", "learn")  # of a returned gradient, whichever is first
Place = tuple[int, str, int]  # stage, kind, batch


def read_told(folder: Path, opened_s: float) -> Trace | None:
    """The last marks of a run's workers; None where none tells. opened_s: when their zero was.

    Times are of the monotonic clock, which all processes of a host share.
    """
    trace = Trace()
    for path in sorted((folder / names.PROFILE).glob(names.told_spans("*"))):
        marks = list(_marks(path, opened_s))
        if marks:
            trace.marks[int(path.stem.rpartition("-")[2])] = marks
    trace.arrows = sorted(_arrows(trace.marks))
    return trace if trace.marks else None


def told_window(trace: Trace, length_s: float) -> tuple[float, float]:
    """The last seconds that are known of all workers, at most so many."""
    ends = [marks[-1].ended_s for marks in trace.marks.values()]
    ended_s = min(end for end in ends if end > max(ends) - LATE_S)
    known_s = max(marks[0].began_s for marks in trace.marks.values())
    began_s = max(ended_s - min(length_s, LAST_S), min(known_s, ended_s))
    return began_s, ended_s


def _marks(path: Path, opened_s: float) -> Iterator[Mark]:
    """The whole lines at the end of a file that is being written."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return
    for line in lines[:-1]:
        if line.startswith(b"["):
            kind, batch, version, began_ns, ended_ns = json.loads(line)
            yield Mark(began_ns / 1e9 - opened_s, ended_ns / 1e9 - opened_s, kind, batch, version)


def _arrows(tracks: Mapping[int, Sequence[Mark]]) -> Iterator[Arrow]:
    """From each sending to the use of what was sent, as far as both are known."""
    found: dict[Place, Mark] = {}
    for stage, marks in tracks.items():
        for mark in marks:
            found.setdefault((stage, mark.kind, mark.batch), mark)
    for (stage, kind, batch), sent in found.items():
        uses: Sequence[str] = ()
        if kind == "send":
            name, end, uses = "activation", stage + 1, ("forward", "evaluate")
        elif kind == "send gradient":
            name, end, uses = "gradient", stage - 1, USES
        places = (found.get((end, use, batch)) for use in uses)
        used = min((mark for mark in places if mark and mark.began_s > sent.began_s), default=None)
        if used is not None:
            yield Arrow(sent.began_s, used.began_s, name, stage, end)
