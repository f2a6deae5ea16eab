"""A picture of a run, as an SVG file that needs nothing else: lockstep above, as it ran below.

It follows the reader's light or dark, also where a page shows it as an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dni_async.errors import ConfigError
from dni_async.files import names
from dni_async.launcher.report.html.timeline.drawing import (
    DRAWING_STYLE,
    WIDTH,
    draw_timeline,
    said_of,
)
from dni_async.launcher.report.html.timeline.excerpt import Excerpt, take_excerpt
from dni_async.launcher.report.html.timeline.lockstep import lockstep_times
from dni_async.launcher.report.html.timeline.recorded import read_trace
from dni_async.wire.foreign_text import html_of

__all__ = ["draw_picture", "excerpt_of"]

NUM_LOCKSTEP = 3  # batches that the picture is long


def excerpt_of(folder: Path, report: Mapping[str, Any]) -> Excerpt | None:
    """The part of a run's trace that is drawn; None where it has none of that length."""
    trace = read_trace(folder / names.TRACE)
    if trace is None:
        return None
    return take_excerpt(trace, lockstep_times(trace, report), num_lockstep=NUM_LOCKSTEP)


def draw_picture(folder: Path, report: Mapping[str, Any]) -> str:
    """The file's text. Raises ConfigError where the run has left no trace to draw."""
    if not (folder / names.TRACE).is_file():
        raise ConfigError(
            f"picture: {folder} has no {names.TRACE}; dni-launch --profile records one"
        )
    excerpt = excerpt_of(folder, report)
    if excerpt is None:
        raise ConfigError(
            f"picture: {folder / names.TRACE} has no {NUM_LOCKSTEP} batches of lockstep in one "
            "piece without a test; train longer, or test less often: --evaluate-every"
        )
    height, drawn = draw_timeline(excerpt)
    title = "Lockstep, and the same work as dni-async did it"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-labelledby="title desc">\n<title id="title">{title}</title>\n'
        f'<desc id="desc">{html_of(said_of(excerpt))}</desc>\n'
        f"<style>{DRAWING_STYLE}</style>\n{drawn}\n</svg>\n"
    )
