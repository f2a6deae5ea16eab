"""A display that changes in place: how far the run is, its stages, and what is waited for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from dni_async.launcher.dashboard.header import told_pace
from dni_async.launcher.dashboard.ledger import LedgerWatcher, Moment
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.monitoring.live.awaited import WaitLine, awaited_of
from dni_async.launcher.monitoring.live.head import Head
from dni_async.launcher.monitoring.live.notebook import NotebookDisplay, open_place
from dni_async.launcher.monitoring.live.stages import shown_stages, stage_lines
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.system import output
from dni_async.wire.messages import Progress

if TYPE_CHECKING:
    pass

__all__ = ["LiveDisplay", "live_display"]

REFRESHES = 6  # per second
NUM_RUNS = 3  # with the baselines


class LiveDisplay(LedgerWatcher, Display):
    """Plain lines, and what stands below them: told in one thread, drawn in another."""

    def __init__(self, console: Console) -> None:
        LedgerWatcher.__init__(self)
        Display.__init__(self, console)
        self._waits = ""
        self._wait_line = WaitLine()
        self._gone: frozenset[int] = frozenset()
        self._cosines: Mapping[int, float] = {}

    def waiting(self, text: str) -> None:
        """What is waited for from now on."""
        self._waits = text

    def progress(self, progress: Progress) -> None:
        """A worker's counters; one that takes another's place is there with its first word."""
        LedgerWatcher.progress(self, progress)
        self._gone -= {progress.stage}

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """The plain line stays above."""
        LedgerWatcher.epoch(self, run, epoch)
        self._cosines = {**self._cosines, **run.cosines(epoch.epoch)}
        Display.epoch(self, run, epoch)

    def died(self, restart: RestartResult) -> None:
        """Its stage leaves the table at once."""
        self._gone |= {restart.stage}

    def end(self, report: Mapping[str, Any]) -> None:
        """Nothing goes on any more."""
        LedgerWatcher.end(self, report)
        self._waits = ""
        Display.end(self, report)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What stands below the lines now, not higher than the terminal."""
        moment = self._ledger.moment()
        if moment.facts is None or moment.status != "training":
            yield from self._wait_line.drawn(self._waits, console, options.max_width)
            return
        gone, told = self._gone, told_pace(moment)
        head = _head(moment, told)
        waits = self._waits or awaited_of(moment, gone)
        waiting = list(self._wait_line.drawn(waits, console, options.max_width))
        if not waits and told["says"]:  # where it would be said what is waited for
            waiting = [Text(told["says"][0][: options.max_width], "dim")]
        room = options.size.height - 2 - head.height(options.max_width) - len(waiting)
        if room >= 0:
            yield Text("")
        yield head
        yield from waiting
        if moment.runs[-1].kind == "decoupled":
            yield from self._stages(moment, gone, options.max_width, room - 1)

    def _stages(self, moment: Moment, gone: frozenset[int], width: int, room: int) -> RenderResult:
        stages = {stage: now for stage, now in moment.stages.items() if stage not in gone}
        head, *lines = stage_lines(stages, shown_stages(stages, room), self._cosines, width) or [""]
        yield Text(head, "bold")
        yield from map(Text, lines)
        if lines and len(lines) < len(stages):
            yield Text(f"and {len(stages) - len(lines)} more that work less of their time", "dim")


def _head(moment: Moment, told: Mapping[str, Any]) -> Head:
    assert moment.facts is not None
    settings = moment.facts.settings
    return Head(
        told,
        ends_early=bool(settings.get("early_stop") or settings.get("patience")),
        this_run=len(moment.runs),
        num_runs=NUM_RUNS if settings.get("baseline") else 1,
    )


@contextmanager
def live_display(console: Console) -> Iterator[Display]:
    """The display that fits console; what changes in place is gone when the block ends."""
    if console.is_jupyter:
        with closing(NotebookDisplay(console, open_place())) as shown:
            yield shown
        return
    if not console.is_interactive:
        yield Display(console)
        return
    display = LiveDisplay(console)
    with Live(
        display,
        console=console,
        refresh_per_second=REFRESHES,
        transient=True,
        redirect_stderr=output.has_terminal(),  # what goes to a file does not belong here
    ):
        yield display
