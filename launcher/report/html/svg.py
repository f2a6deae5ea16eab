"""Small drawings of inline SVG: curves over axes, stacked bars, a meter. Text is escaped here.

Colours are classes (``hue-0`` and so on, or names) that the page's style sheet defines, so that a
drawing reads in light and in dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dni_async.wire.foreign_text import html_of

__all__ = ["Bar", "Part", "Series", "draw_bars", "draw_curves", "draw_meter", "nice_ticks"]

WIDTH, HEIGHT = 380, 232
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 30, 40
BARS_WIDTH, THICK = 1000, 16
MAX_DOTS = 40  # with more points a curve goes without


@dataclass(frozen=True, slots=True)
class Series:
    """One curve. hue: its class of colour."""

    name: str
    hue: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar. size: in the unit of the whole drawing. says: shown where one points."""

    hue: str
    size: float
    says: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of bars, with a label before and a note behind it."""

    label: str
    parts: Sequence[Part]
    note: str = ""


def draw_curves(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    show: Callable[[float], str],
    encloses: Sequence[float] = (),
) -> str:
    """Curves over common axes. Says so where there is no point.

    show: how a value of y reads. encloses: values that the axis of y reaches whatever the points.
    """
    points = [point for each in series for point in each.points if _is_finite(point)]
    if not points:
        return f'<p class="empty">{html_of(title)}: nothing to draw yet.</p>'
    x_ticks = _ticks([x for x, _ in points])
    y_ticks = _ticks([*(y for _, y in points), *encloses])

    def x_at(x: float) -> float:
        return LEFT + _share(x, x_ticks) * (WIDTH - LEFT - RIGHT)

    def y_at(y: float) -> float:
        return HEIGHT - BOTTOM - _share(y, y_ticks) * (HEIGHT - TOP - BOTTOM)

    parts = [_text(LEFT, 16, title, "title")]
    for tick in y_ticks:
        parts.append(_line(LEFT, y_at(tick), WIDTH - RIGHT, y_at(tick)))
        parts.append(_text(LEFT - 6, y_at(tick) + 4, show(tick), "tick", anchor="end"))
    for tick in x_ticks:
        text = _text(x_at(tick), HEIGHT - BOTTOM + 18, f"{tick:g}", "tick", anchor="middle")
        parts.append(text)
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 4, x_label, "tick", anchor="middle"))
    for each in reversed(series):  # the first lies on top
        kept = [point for point in each.points if _is_finite(point)]
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in kept)
        parts.append(f'<polyline class="curve {html_of(each.hue)}" points="{path}" />')
        parts += [
            f'<circle class="dot {html_of(each.hue)}" cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3">'
            f"<title>{html_of(f'{each.name}: {show(y)} at {x:g}')}</title></circle>"
            for x, y in kept[: MAX_DOTS if len(kept) <= MAX_DOTS else 0]
        ]
    return _svg(WIDTH, HEIGHT, title, parts)


def draw_bars(title: str, bars: Sequence[Bar], *, full: float | None = None) -> str:
    """One stacked bar under another. full: what fills the width; None: the longest bar does."""
    longest = max((sum(part.size for part in bar.parts) for bar in bars), default=0.0)
    rows = "".join(_row(bar, BARS_WIDTH / ((full or longest) or 1.0)) for bar in bars)
    return f'<div class="bars" role="group" aria-label="{html_of(title)}">{rows}</div>'


def draw_meter(share: float, says: str, hue: str = "hue-0") -> str:
    """How full something is, 0 to 1."""
    filled = 100 * min(1.0, max(0.0, share))
    return (
        f'<svg class="meter" viewBox="0 0 100 8" role="img" aria-label="{html_of(says)}">'
        f'<rect class="rest" width="100" height="8" rx="4" />'
        f'<rect class="{html_of(hue)}" width="{filled:.1f}" height="8" rx="4" /></svg>'
    )


def nice_ticks(low: float, high: float, *, at_most: int = 5, smallest: float = 0.0) -> list[float]:
    """Round numbers at equal distances, smallest or more, that enclose low and high."""
    if high <= low:
        low, high = low - abs(low) * 0.1 - 0.5, high + abs(high) * 0.1 + 0.5
    power = max(smallest, 10 ** math.floor(math.log10((high - low) / at_most)))
    for factor in (1, 2, 5, 10, 20):
        unit = factor * power
        first, last = math.floor(low / unit + 1e-9), math.ceil(high / unit - 1e-9)
        if last - first < at_most:
            break
    return [round(number * unit, 12) for number in range(first, last + 1)]


def _row(bar: Bar, scale: float) -> str:
    """Words stay as large as they are, whatever the width of the page; the bar alone stretches."""
    parts, x = [], 0.0
    for part in bar.parts:
        width = max(0.0, part.size * scale)
        parts.append(
            f'<rect class="{html_of(part.hue)}" x="{x:.1f}" y="0" width="{width:.1f}" '
            f'height="{THICK}"><title>{html_of(part.says)}</title></rect>'
        )
        x += width
    return (
        f"<span>{html_of(bar.label)}</span>"
        f'<svg class="bar" viewBox="0 0 {BARS_WIDTH} {THICK}" preserveAspectRatio="none">'
        f"{''.join(parts)}</svg><span>{html_of(bar.note)}</span>"
    )


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html_of(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, style: str, *, anchor: str = "start") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{html_of(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" />'


def _ticks(values: Sequence[float]) -> list[float]:
    """Epochs and counts are marked by whole numbers."""
    is_whole = all(float(value).is_integer() for value in values)
    return nice_ticks(min(values), max(values), smallest=1.0 if is_whole else 0.0)


def _share(value: float, ticks: Sequence[float]) -> float:
    return (value - ticks[0]) / (ticks[-1] - ticks[0])


def _is_finite(point: tuple[float, float]) -> bool:
    return all(math.isfinite(value) for value in point)
