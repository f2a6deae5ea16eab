"""The lines above the stages: a bar, and what is to be said of the run at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dni_async.launcher.report.rows import figure_text
from dni_async.launcher.report.terminal.sentences import coloured, packed
from dni_async.wire.foreign_text import legible

__all__ = ["Head", "clock"]


class Head:
    """told: what the dashboard's header tells of a run that trains. num_runs: baselines and all."""

    def __init__(
        self, told: Mapping[str, Any], *, ends_early: bool, this_run: int, num_runs: int
    ) -> None:
        self._told = told
        self._ends_early = ends_early
        self._place = f"run {this_run} of {num_runs}" if num_runs > 1 else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._bar()
        yield from map(coloured, self._lines(options.max_width))

    def height(self, width: int) -> int:
        """Lines that it takes."""
        return 1 + len(self._lines(width))

    def _lines(self, width: int) -> list[str]:
        return list(packed(list(self._facts()), width))

    def _bar(self) -> Table:
        told = self._told
        grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
        for ratio in (None, 1, None, None):
            grid.add_column(ratio=ratio, no_wrap=True, justify="right" if ratio is None else "left")
        left = "" if told["left_s"] is None else f"{clock(told['left_s'])} left"
        if left and self._ends_early:
            left = f"at most {left}"
        bar = ProgressBar(total=1.0, completed=told["share"])
        grid.add_row(Text(legible(told["phase"])), bar, f"{told['share']:.0%}", left)
        return grid

    def _facts(self) -> Iterator[str]:
        told = self._told
        yield f"epoch {told['epoch']:,} of {told['epochs']:,}"
        if told["testing"] is None:
            yield f"batch {told['batch']:,} of {told['batches']:,}"
        if told["samples_per_second"] is not None:
            yield f"{told['samples_per_second']:,.0f} samples/s"
        if told["value"] is not None:
            value = figure_text(told["metric"], told["value"])
            yield f"{told['metric']} {value} after epoch {told['tested']:,}"
        if told["num_restarts"]:
            count = told["num_restarts"]
            yield f"{count} restart{'s' if count > 1 else ''}"
        if told["num_moves"]:
            count = told["num_moves"]
            yield f"{count} move{'s' if count > 1 else ''} of layers"
        if self._place:
            yield self._place


def clock(seconds: float) -> str:
    """So many seconds as people read them: 0:07, 12:34, 1:02:03, 3 days."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    if hours >= 100:
        return f"{hours // 24} days"
    minutes = f"{rest // 60:02d}" if hours else str(rest // 60)
    return f"{hours}:{minutes}:{rest % 60:02d}" if hours else f"{minutes}:{rest % 60:02d}"
