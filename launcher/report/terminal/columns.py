"""Tables that fit: where there is no room the least telling columns go, and no figure is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from dni_async.launcher.report.terminal.sentences import coloured, packed

__all__ = ["Column", "FittedTable"]

GAP: Final = 2  # beside each column
MAX_HEADING = 12  # characters in a line


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures, or of text, which may break into several lines of one cell.

    rank: 0 for one that always stays; of the others the one with the highest goes first.
    """

    name: str
    rank: int = 0
    is_text: bool = False

    @property
    def heading(self) -> list[str]:
        """Its name in lines that are short enough for a column."""
        return _folded(self.name, MAX_HEADING)


@dataclass(frozen=True)
class FittedTable:
    """Rows under columns, as many of these as the console has room for.

    Of those without room their names stand below, unless is_brief. Where there is not even room
    for the ones that always stay, each row becomes a few lines.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    is_brief: bool = False
    _widths: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        widths = [
            max(map(cell_len, [*column.heading, *(row[place] for row in self.rows)]))
            for place, column in enumerate(self.columns)
        ]
        object.__setattr__(self, "_widths", widths)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        kept = self.kept(options.max_width)
        if not kept:
            yield from self._stacked(options.max_width)
            return
        yield self._table(kept, options.max_width)
        gone = [each.name for place, each in enumerate(self.columns) if place not in kept]
        if gone and not self.is_brief:
            for line in packed(["no room for:", *gone], options.max_width):
                yield coloured(line, "dim")

    def kept(self, width: int) -> list[int]:
        """The places of the columns that a console of that width has room for; maybe none."""
        kept = list(range(len(self.columns)))
        while self._least(kept) > width:
            may_go = [place for place in kept if self.columns[place].rank]
            if not may_go:
                return []
            kept.remove(max(may_go, key=lambda place: self.columns[place].rank))
        return kept

    def _least(self, kept: Sequence[int]) -> int:
        """How wide they are, with text broken as narrow as it may be."""
        narrow = (
            min(self._widths[place], MAX_HEADING)
            if self.columns[place].is_text
            else self._widths[place]
            for place in kept
        )
        return sum(narrow) + GAP * len(kept)

    def _table(self, kept: Sequence[int], width: int) -> Table:
        table = Table(
            title=coloured(self.title, "table.title") if self.title else None,
            title_justify="left",
            box=None if self.is_brief else box.SIMPLE_HEAD,
            header_style="bold" if self.is_brief else "table.header",
            pad_edge=False,
            padding=(0, GAP if self.is_brief else 1, 0, 0),
        )
        spare = width - self._least(kept)
        for place in kept:
            column, own = self.columns[place], self._widths[place]
            if column.is_text:
                least = min(own, MAX_HEADING)
                own, spare = least + min(spare, own - least), spare - min(spare, own - least)
            justify: Literal["left", "right"] = "left" if column.is_text else "right"
            heading = coloured("\n".join(column.heading))
            table.add_column(heading, justify=justify, width=own, overflow="fold")
        for row in self.rows:
            table.add_row(*(coloured(row[place]) for place in kept))
        return table

    def _stacked(self, width: int) -> RenderResult:
        if self.title:
            yield coloured(self.title, "table.title")
        for row in self.rows:
            cells = zip(self.columns, row, strict=True)
            yield from map(coloured, packed([f"{each.name} {cell}" for each, cell in cells], width))


def _folded(name: str, length: int) -> list[str]:
    """name in lines of so many characters at most, broken between words where that is enough."""
    lines = [""]
    for word in name.split(" "):
        parts = [word[at : at + length] for at in range(0, len(word), length)] or [""]
        for place, part in enumerate(parts):
            longer = f"{lines[-1]} {part}" if lines[-1] and not place else part
            if lines[-1] and (place or len(longer) > length):
                lines.append(part)
            else:
                lines[-1] = longer
    return lines
