"""The parts that every section of the HTML report is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["hue", "legend", "percent", "section", "table"]


def section(title: str, body: str) -> str:
    """A card with a heading. body: HTML."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """names are escaped here, cells by who makes them."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Names with the class of the colour that stands for each."""
    items = "".join(f'<li><i class="{hue}"></i>{escape(name)}</li>' for name, hue in entries)
    return f'<ul class="legend">{items}</ul>'


def hue(index: int) -> str:
    """The class of colour of the index-th of several."""
    return f"hue-{index % 8}"


def percent(share: float | None) -> str:
    """A share of 1 with one decimal."""
    return "-" if share is None else f"{share:.1%}"
