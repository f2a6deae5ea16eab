"""What the user sees while a run goes on: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dni_async.config.metric_names import LOSS
from dni_async.launcher.report.foreign_text import legible
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.report.rows import figure_text
from dni_async.launcher.report.watcher import Watcher
from dni_async.wire.messages import Progress

__all__ = ["Display", "live_display"]


class Display(Watcher):
    """Plain lines: one per event that matters, none per update."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def note(self, text: str) -> None:
        """A sentence for the user, which may quote what peers said."""
        self.console.print(legible(text), highlight=False, markup=False, soft_wrap=True)

    def started(self, startup_s: float, pids: Mapping[int, int]) -> None:
        """All workers have begun."""
        listed = " ".join(f"{stage}:{pid}" for stage, pid in sorted(pids.items()))
        self.note(f"{len(pids)} workers started in {startup_s:.2f} s (stage:pid {listed})")

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch of run: losses, the chosen metric, training seconds, samples per second.

        And the lowest cosine of all boundaries between synthetic and returned gradients, if any.
        """
        rate = epoch.num_samples / epoch.seconds if epoch.seconds > 0 else 0.0
        lowest = min(run.cosines(epoch.epoch).values(), default=None)
        agreement = "" if lowest is None else f"  cosine {lowest:.2f}"
        self.note(
            f"{run.name:<20} epoch {epoch.epoch:>3}  loss {figure_text(LOSS, epoch.train_loss)}  "
            f"test {figure_text(LOSS, epoch.test_loss)}{_chosen(run, epoch)}  "
            f"{epoch.seconds:6.2f} s  {rate:>8,.0f}/s{agreement}"
        )


def _chosen(run: RunResult, epoch: EpochResult) -> str:
    """The chosen metric of an epoch; accuracy needs no name beside its per cent."""
    metric = run.goal.metric
    if metric == LOSS:
        return ""
    text = figure_text(metric, run.figure(epoch))
    return f" {text:>7}" if metric == "accuracy" else f"  {metric} {text}"


class LiveDisplay(Display):
    """Epoch lines above a table of the stages that changes in place."""

    def __init__(self, console: Console, live: Live) -> None:
        super().__init__(console)
        self._live = live
        self._rows: dict[int, tuple[Progress, float, float]] = {}  # with updates/s, busy share
        self._heard: dict[int, float] = {}
        self._cosines: dict[int, float] = {}  # of the last epoch that compared any gradients

    def progress(self, progress: Progress) -> None:
        """Show the stage's rates since its last report."""
        now = time.monotonic()
        before = self._rows.get(progress.stage)
        rate = busy = 0.0
        if before is not None:
            previous, rate, busy = before
            seconds = now - self._heard[progress.stage]
            if seconds > 0.05:
                before_it, now_told = previous.counters, progress.counters
                rate = (now_told.work.updates - before_it.work.updates) / seconds
                busy_s = now_told.times.busy_s - before_it.times.busy_s
                busy = min(1.0, max(0.0, busy_s / seconds))
        self._rows[progress.stage] = (progress, rate, busy)
        self._heard[progress.stage] = now
        self._live.update(self._table())

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """The plain line stays above the table; a baseline has no table."""
        super().epoch(run, epoch)
        self._cosines.update(run.cosines(epoch.epoch))
        if run.kind == "baseline" and self._rows:
            self._rows.clear()
            self._live.update(Text(""))

    def _table(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        names = ("stage", "updates", "updates/s", "busy", "staleness", "cosine", "memory", "loss")
        for name in names:
            table.add_column(name, justify="right")
        for stage in sorted(self._rows):
            progress, rate, busy = self._rows[stage]
            told = progress.counters
            table.add_row(
                str(stage),
                f"{told.work.updates:,}",
                f"{rate:,.0f}",
                f"{busy:.0%}",
                str(told.staleness.max_staleness),
                f"{self._cosines[stage]:.2f}" if stage in self._cosines else "",
                f"{told.memory.rss_bytes / 2**20:,.0f} MB",
                "" if math.isnan(told.work.loss) else figure_text(LOSS, told.work.loss),
            )
        return Group(Text(""), table)


@contextmanager
def live_display(console: Console) -> Iterator[Display]:
    """The display that fits console; the table disappears when the block ends."""
    if not console.is_terminal:
        yield Display(console)
        return
    with Live(Text(""), console=console, refresh_per_second=8, transient=True) as live:
        yield LiveDisplay(console, live)
