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

__all__ = ["GAP", "Column", "FittedTable"]

GAP: Final = 2  # characters that each column takes beside its own
MAX_HEADING = 12  # characters in a line
TEXT_WIDTHS: Final = (24, 12)  # text has more room than that, or it breaks; the second, if it must


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

    Of those without room their names stand below. Where there is not even room for the ones that
    always stay, each row becomes a few lines.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
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
        if gone:
            for line in packed(["no room for:", *gone], options.max_width):
                yield coloured(line, "dim")

    def kept(self, width: int) -> list[int]:
        """The places of the columns that a console of that width has room for; maybe none."""
        found = (self._kept(width, text_width) for text_width in TEXT_WIDTHS)
        return next(filter(None, found), [])

    def _kept(self, width: int, text_width: int) -> list[int]:
        """The same, with text as narrow as that where need be."""
        kept = list(range(len(self.columns)))
        may_go = [place for place in kept if self.columns[place].rank]
        for place in sorted(may_go, key=lambda place: -self.columns[place].rank):
            if self._least(kept, text_width) <= width:
                break
            kept.remove(place)
        return kept if self._least(kept, text_width) <= width else []

    def width_of(self, place: int) -> int:
        """Of a column, with all its cells in one line."""
        return self._widths[place]

    def _least(self, kept: Sequence[int], text_width: int) -> int:
        """How wide they are, with text as narrow as that."""
        narrow = (
            min(self._widths[place], text_width)
            if self.columns[place].is_text
            else self._widths[place]
            for place in kept
        )
        return sum(narrow) + GAP * len(kept)

    def _table(self, kept: Sequence[int], width: int) -> Table:
        table = Table(
            title=coloured(self.title, "table.title") if self.title else None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        narrowest = min(TEXT_WIDTHS)
        spare = width - self._least(kept, narrowest)
        for place in kept:
            column, own = self.columns[place], self._widths[place]
            if column.is_text:
                least = min(own, narrowest)
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
