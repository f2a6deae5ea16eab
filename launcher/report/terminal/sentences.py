"""Sentences for a terminal: words that judge are coloured, lines break between words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from dni_async.wire.foreign_text import legible

__all__ = ["GAP", "broken", "coloured", "packed", "say"]

GAP: Final = "  "  # between facts that stand in one line
_STYLES: Final = {
    "faster": "green",
    "sooner": "green",
    "SLOWER": "bold red",
    "LATER": "bold red",
    "not comparable": "yellow",
    "not reached": "yellow",
}


def coloured(text: str, style: str = "") -> Text:
    """text with the words in colour by which runs are judged. It may be anybody's."""
    said = Text(legible(text), style)
    for word, own in _STYLES.items():
        said.highlight_regex(rf"\b{word}\b", own)
    return said


def say(console: Console, text: str) -> None:
    """Print text, which may be anybody's, and of several lines.

    In a terminal a line that is too long goes on below, further to the right, and no word of it is
    broken: a path can be copied. One that begins with blanks, as a command does, is left to the
    terminal, but for the remark behind it. Elsewhere every line stays one.
    """
    if not console.is_terminal:
        console.print(coloured(text), soft_wrap=True)
        return
    for line in broken(legible(text), console.width):
        console.print(coloured(line), soft_wrap=True)


def broken(text: str, width: int) -> list[str]:
    """Its lines, and where one is too long what follows below; no word is broken."""
    return [part for line in text.split("\n") for part in _parts(line, width)]


def _parts(line: str, width: int) -> list[str]:
    if cell_len(line) <= width:
        return [line]
    if line.startswith(" "):
        command, _, remark = line.partition(f"{GAP}# ")
        return [command.rstrip(), f"{GAP * 2}# {remark}"] if remark else [line]
    return textwrap.wrap(
        line, width, subsequent_indent=GAP, break_long_words=False, break_on_hyphens=False
    )


def packed(facts: Sequence[str], width: int) -> Iterator[str]:
    """The facts in as few lines of that width as they take; lines break between facts alone."""
    line = ""
    for fact in facts:
        longer = line + GAP + fact if line else fact
        if line and cell_len(longer) > width:
            yield line
            longer = fact
        line = longer
    if line:
        yield line
