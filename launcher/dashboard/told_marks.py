"""What the workers of a run that goes on did last, mark by mark, where it is profiled."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dni_async.files import names
from dni_async.files.reading import open_regular
from dni_async.launcher.report.html.timeline.recorded import (
    ACTIVATION_USES,
    GRADIENT_USES,
    TARGET_USES,
    Arrow,
    Mark,
    Trace,
)
from dni_async.wire.foreign_text import parsed

__all__ = ["TOLD_S", "Told", "read_told"]

MAX_BYTES = 512 * 2**10  # of a worker's file, its end: 10,000 marks or so
MAX_MARKS = 1_300  # of a worker, that are taken out of it
TOLD_S = 10.0
LATE_S = 1.5  # a worker that tells nothing for so long is not waited for
Place = tuple[int, str, int]  # stage, kind, batch


class Told(NamedTuple):
    """The last marks, and the seconds that are known of all workers."""

    trace: Trace
    began_s: float
    ended_s: float


def read_told(folder: Path, opened_s: float, length_s: float = TOLD_S) -> Told | None:
    """The last length_s of a run at most; None where no worker tells. opened_s: when zero was.

    Times are of the monotonic clock, which all processes of a host share.
    """
    files = {}
    for path in sorted((folder / names.PROFILE).glob(names.told_spans("*"))):
        lines = _whole_lines(path)
        if lines:
            files[int(path.stem.rpartition("-")[2])] = lines
    if not files:
        return None
    ends = [_ended_ns(lines[-1]) for lines in files.values()]
    ended_ns = min(end for end in ends if end > max(ends) - LATE_S * 1e9)
    began_ns = ended_ns - int(min(length_s, TOLD_S) * 1e9)
    for lines in files.values():  # as far back as all of them tell, with so many marks at most
        last = bisect_left(lines, ended_ns, key=_began_ns)
        if last:
            began_ns = max(began_ns, _began_ns(lines[max(0, last - MAX_MARKS)]))
    trace = Trace()
    for stage, lines in files.items():
        first = bisect_right(lines, began_ns, key=_ended_ns)
        shown = lines[first : bisect_left(lines, ended_ns, key=_began_ns)]
        trace.marks[stage] = [_mark(line, opened_s) for line in shown]
    trace.arrows = sorted(_arrows(trace.marks))
    return Told(trace, min(began_ns, ended_ns) / 1e9 - opened_s, ended_ns / 1e9 - opened_s)


def _whole_lines(path: Path) -> list[bytes]:
    """Those at the end of a file that is being written."""
    try:
        with open_regular(path) as file:
            file.seek(max(0, path.stat().st_size - MAX_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return []
    return [line for line in lines if line.startswith(b"[")]


def _began_ns(line: bytes) -> int:
    return int(parsed(line)[3])


def _ended_ns(line: bytes) -> int:
    return int(parsed(line)[4])


def _mark(line: bytes, opened_s: float) -> Mark:
    kind, batch, version, began_ns, ended_ns = parsed(line)
    began_s, ended_s = began_ns / 1e9 - opened_s, ended_ns / 1e9 - opened_s
    return Mark(began_s, ended_s, str(kind), int(batch), int(version))


def _arrows(tracks: Mapping[int, Sequence[Mark]]) -> Iterator[Arrow]:
    """From each sending to the use of what was sent, as far as both are known."""
    found: dict[Place, Mark] = {}
    for stage, marks in tracks.items():
        for mark in marks:
            found.setdefault((stage, mark.kind, mark.batch), mark)
    for (stage, kind, batch), sent in found.items():
        uses: Sequence[str] = ()
        if kind == "send":
            name, end = "activation", stage + 1
            is_target = any((end, use, batch) in found for use in TARGET_USES)
            uses = TARGET_USES if is_target else ACTIVATION_USES
        elif kind == "send gradient":
            name, end, uses = "gradient", stage - 1, GRADIENT_USES
        places = (found.get((end, use, batch)) for use in uses)
        used = min((mark for mark in places if mark and mark.began_s > sent.began_s), default=None)
        if used is not None:
            yield Arrow(sent.began_s, used.began_s, name, stage, end)
