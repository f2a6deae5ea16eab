"""The parts that every section of the HTML report is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dni_async.wire.foreign_text import html_of

__all__ = ["Html", "curve_legend", "hue", "legend", "percent", "scrolled", "section", "table"]


class Html(str):
    """Text that is HTML already: all that is not of this kind is escaped in a table."""


def section(title: str, body: str) -> str:
    """A card with a heading. body: HTML."""
    return f"<section><h2>{html_of(title)}</h2>{body}</section>"


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a heading. Cells that are not Html are anybody's text."""
    head = "".join(f"<th>{html_of(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(each)}</td>' for each in row)}</tr>" for row in rows)
    return scrolled(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def scrolled(body: str) -> str:
    """What may be wider than the page, and then moves within itself. body: HTML."""
    return f'<div class="scroll" tabindex="0">{body}</div>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Names with the class of the colour that stands for each."""
    return _legend((name, f'<i class="{hue}"></i>') for name, hue in entries)


def curve_legend(entries: Iterable[tuple[str, str]]) -> str:
    """Names with a piece of the curve of each, whose dashes tell it apart without colour too."""
    line = '<svg class="swatch" viewBox="0 0 28 8"><path class="curve {}" d="M0 4H28" /></svg>'
    return _legend((name, line.format(hue)) for name, hue in entries)


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<li>{sign}{html_of(name)}</li>" for name, sign in entries)
    return f'<ul class="legend">{items}</ul>'


def hue(index: int) -> str:
    """The class of colour of the index-th of several."""
    return f"hue-{index % 8}"


def percent(share: float | None) -> str:
    """A share of 1 with one decimal."""
    return "-" if share is None else f"{share:.1%}"


def _cell(cell: str) -> str:
    return cell if isinstance(cell, Html) else html_of(cell)
