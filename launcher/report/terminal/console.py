"""The one console of every command: whatever it is handed, it prints no command to the terminal.

It writes to a lasting stream: an output that is gone ends neither a run nor a table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from dni_async.system import output
from dni_async.wire.foreign_text import legible

__all__ = ["open_console"]


class _LegibleConsole(Console):
    """A console in which text is only ever text: no markup, no emoji by name, no links by it.

    Every piece is looked at once more on its way out, behind all that draws and before the colours
    are put in: what nobody has made legible is so here.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The pieces of renderable, none of which commands the terminal but rich itself."""
        for text, style, control in super().render(renderable, options):
            if control is None:
                text = legible(text)
                if style is not None and style.link is not None:
                    style = style.update_link(None)
            yield Segment(text, style, control)


def open_console(**settings: Any) -> Console:
    """A console on standard output. settings: of rich's Console, such as its width, or a file."""
    stream = None if sys.stdout is None else output.lasting(sys.stdout)
    settings = {"file": stream, **settings}
    return _LegibleConsole(markup=False, emoji=False, highlight=False, **settings)
