"""What the stages did when, drawn: lockstep above, the run as it was below, on one time scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from dni_async.launcher.report.html.svg import nice_ticks
from dni_async.launcher.report.html.timeline.excerpt import Excerpt
from dni_async.launcher.report.html.timeline.recorded import SENDING, WAITING, Mark
from dni_async.wire.foreign_text import html_of

__all__ = ["DRAWING_STYLE", "WIDTH", "draw_timeline", "said_of"]

WIDTH = 800
LEFT, RIGHT = 106, 12
BAR, HEADING = 26, 40
NARROW, WIDE = 33, 44  # from one row to the next: arrows need room
AXIS, KEY_LINE = 30, 32
SHORTEST = 0.5  # of a mark that is drawn, in pixels
NUMBERED = 26  # pixels of a mark that has room for its batch
LETTER = 12.6  # pixels at most, of the large letters of a small screen
POINT = 8  # of an arrow
SORTS = {
    "load": "forward", "forward": "forward", "synthesize input": "forward", "evaluate": "forward",
    "loss": "update", "synthesize": "update", "backward": "update", "optimize": "update",
    "carry back": "teach", "learn": "teach", "learn input": "teach",
    **dict.fromkeys((*SENDING, "receive", "receive gradient", "save"), "send"),
}  # fmt: skip
KEY = {
    "forward": "forward",
    "update": "backward, update",
    "teach": "teach synthesizer",
    "send": "send",
}
DRAWING_STYLE = """
svg.timeline {
  --card: #ffffff; --ink: #1d232b; --soft: #4d5763; --edge: #d5dae1;
  --on-forward: #ffffff; --on-update: #1d232b;
  --forward: #0b62a8; --update: #e69f00; --teach: #12906f; --send: #98a3af;
}
@media (prefers-color-scheme: dark) {
  svg.timeline {
  --card: #161b22; --ink: #f0f3f6; --soft: #aab4bf; --edge: #333c47;
  --on-forward: #0d1117; --on-update: #0d1117;
  --forward: #6cb6f5; --update: #f0b04a; --teach: #2f9d80; --send: #66717d;
  }
}
svg.timeline text { font: 17px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink); }
svg.timeline .heading { font-size: 19px; font-weight: 600; }
svg.timeline .soft { fill: var(--soft); }
svg.timeline .number { font-size: 14px; font-weight: 600; }
svg.timeline .on-forward { fill: var(--on-forward); }
svg.timeline .on-update { fill: var(--on-update); }
svg.timeline .rail { stroke: var(--edge); stroke-width: 2; }
svg.timeline .grid { stroke: var(--edge); }
svg.timeline .forward { fill: var(--forward); } svg.timeline .update { fill: var(--update); }
svg.timeline .teach { fill: var(--teach); } svg.timeline .send { fill: var(--send); }
svg.timeline .followed { fill: none; stroke: var(--ink); stroke-width: 2; }
svg.timeline .arrow { stroke: var(--ink); stroke-width: 1.6; fill: none; }
svg.timeline .arrow.gradient { stroke-dasharray: 5 3; }
svg.timeline .card { fill: var(--card); }
svg.timeline .point { fill: var(--ink); }
@media (max-width: 560px) {
  svg.timeline text { font-size: 22px; } svg.timeline .heading { font-size: 23px; }
  svg.timeline .number { display: none; }
}
"""


def said_of(excerpt: Excerpt) -> str:
    """What one sees, in one sentence."""
    ours_ms, lockstep_ms = excerpt.batch_s * 1000, excerpt.lockstep_s * 1000
    end = "" if ours_ms < lockstep_ms else ": it would have been faster"
    return (
        f"While {_batches(excerpt.num_lockstep)} would pass in lockstep, {excerpt.num_passed} did: "
        f"over the whole run one every {ours_ms:.3g} ms, against {lockstep_ms:.3g} ms in lockstep "
        f"with the same stage times, reckoned{end}."
    )


def draw_timeline(excerpt: Excerpt) -> tuple[int, str]:
    """Height and inside of a drawing of WIDTH, for DRAWING_STYLE in an svg of class timeline."""
    below = HEADING + len(excerpt.marks) * NARROW
    bottom = below + HEADING + len(excerpt.marks) * WIDE
    height = bottom + AXIS + 2 * KEY_LINE + 6
    parts = [
        f'<rect class="card" width="{WIDTH}" height="{height}" rx="10" />',
        *_axis(excerpt, bottom),
        *_heading("Lockstep, reckoned from the same stage times", excerpt.num_lockstep, 0),
        *_tracks(excerpt, excerpt.lockstep, HEADING, NARROW),
        *_heading("Asynchronous, as it ran", excerpt.num_passed, below),
        *_tracks(excerpt, excerpt.marks, below + HEADING, WIDE),
        *_arrows(excerpt, below + HEADING),
        *_key(excerpt, bottom + AXIS),
    ]
    return height, "".join(parts)


def _x(excerpt: Excerpt, at_s: float) -> float:
    share = (at_s - excerpt.began_s) / (excerpt.ended_s - excerpt.began_s)
    return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)


def _heading(text: str, num_batches: int, top: float) -> Iterator[str]:
    yield _text(14, top + 27, text, "heading")
    yield _text(WIDTH - RIGHT, top + 27, _batches(num_batches), "heading", anchor="end")


def _batches(count: int) -> str:
    return f"{count} batch{'' if count == 1 else 'es'}"


def _axis(excerpt: Excerpt, bottom: float) -> Iterator[str]:
    length_ms = (excerpt.ended_s - excerpt.began_s) * 1000
    for tick in nice_ticks(0.0, length_ms, at_most=6):
        if tick <= length_ms:
            x = _x(excerpt, excerpt.began_s + tick / 1000)
            yield f'<path class="grid" d="M{x:.1f} {HEADING - 4}V{bottom}" />'
            anchor = "end" if x > WIDTH - 60 else "middle"
            yield _text(x, bottom + 20, f"{tick:g} ms", "soft", anchor=anchor)


def _tracks(
    excerpt: Excerpt, tracks: Mapping[int, Sequence[Mark]], top: float, row: float
) -> Iterator[str]:
    first = min((mark.batch for marks in tracks.values() for mark in marks), default=0)
    is_lockstep = tracks is excerpt.lockstep
    for number, (stage, marks) in enumerate(tracks.items()):
        y = top + number * row
        yield _text(14, y + BAR - 7, f"stage {stage}", "soft")
        yield f'<path class="rail" d="M{LEFT} {y + BAR / 2:.1f}H{WIDTH - RIGHT}" />'
        for sort, batch, began_s, ended_s in _joined(marks):
            x, end = _x(excerpt, began_s), _x(excerpt, ended_s)
            if end - x < SHORTEST:
                continue
            is_followed = batch == (first if is_lockstep else excerpt.batch)
            shown = max(0, excerpt.batch) + batch - first if is_lockstep else batch
            yield _rect(sort, x, y, end - x - 0.4)
            if end - x >= NUMBERED and sort in ("forward", "update"):
                yield _text(
                    (x + end) / 2, y + BAR - 8, str(shown), f"number on-{sort}", anchor="middle"
                )
            if is_followed and sort != "send":
                yield _rect("followed", x, y, end - x - 0.4)


def _joined(marks: Sequence[Mark]) -> Iterator[tuple[str, int, float, float]]:
    """Sort, batch, began, ended: what follows on its like is one mark with it; no waiting."""
    kept: tuple[str, int, float, float] | None = None
    for mark in marks:
        if mark.kind == WAITING:
            continue
        sort = SORTS.get(mark.kind, "send")
        if kept and kept[:2] == (sort, mark.batch) and mark.began_s - kept[3] < 1e-4:
            kept = (*kept[:3], mark.ended_s)
            continue
        if kept:
            yield kept
        kept = (sort, mark.batch, mark.began_s, mark.ended_s)
    if kept:
        yield kept


def _arrows(excerpt: Excerpt, top: float) -> Iterator[str]:
    rows = {stage: top + number * WIDE for number, stage in enumerate(excerpt.marks)}
    for arrow in excerpt.arrows:
        is_up = arrow.end > arrow.start
        x1, x2 = _x(excerpt, arrow.began_s), _x(excerpt, arrow.ended_s)
        y1, y2 = rows[arrow.start] + BAR * is_up, rows[arrow.end] + BAR * (not is_up)
        sort = "activation" if is_up else "gradient"
        yield f'<path class="arrow {sort}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" />'
        yield _point(x1, y1, x2, y2)


def _point(x1: float, y1: float, x2: float, y2: float) -> str:
    turn = math.atan2(y2 - y1, x2 - x1)
    ends = [
        f"{x2 - POINT * math.cos(turn + side):.1f} {y2 - POINT * math.sin(turn + side):.1f}"
        for side in (-0.45, 0.45)
    ]
    return f'<path class="point" d="M{x2:.1f} {y2:.1f}L{ends[0]}L{ends[1]}Z" />'


def _key(excerpt: Excerpt, top: float) -> Iterator[str]:
    x = 14.0
    for sort, text in KEY.items():
        yield f'<rect class="{sort}" x="{x:.1f}" y="{top + 8}" width="16" height="16" rx="2" />'
        yield _text(x + 22, top + 22, text, "soft")
        x += 22 + LETTER * len(text) + 10
    if excerpt.batch < 0:
        return
    x, y = 14.0, top + KEY_LINE
    yield f'<rect class="followed" x="{x}" y="{y + 8}" width="16" height="16" />'
    text = f"batch {excerpt.batch} on its way:"
    yield _text(x + 22, y + 22, text, "soft")
    x += 22 + LETTER * len(text) + 4
    for sort, text in (("activation", "activation"), ("gradient", "true gradient")):
        yield f'<path class="arrow {sort}" d="M{x:.1f} {y + 16}h38" />'
        yield _point(x, y + 16, x + 40, y + 16)
        yield _text(x + 48, y + 22, text, "soft")
        x += 48 + LETTER * len(text) + 14


def _rect(sort: str, x: float, y: float, width: float) -> str:
    return f'<rect class="{sort}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" />'


def _text(x: float, y: float, text: str, sort: str, *, anchor: str = "start") -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{sort}" x="{x:.1f}" y="{y:.1f}"{where}>{html_of(text)}</text>'
