"""What the user sees while a run goes on: plain lines, one per event that matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from dni_async.config.metric_names import LOSS
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.report.rows import figure_text
from dni_async.launcher.report.terminal.sentences import say
from dni_async.launcher.report.terminal.tables import print_report
from dni_async.launcher.report.watcher import Watcher

__all__ = ["Display"]


class Display(Watcher):
    """Plain lines: one per event that matters, none per update."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def note(self, text: str) -> None:
        """A sentence for the user, which may quote what peers said."""
        say(self.console, text)

    def waiting(self, text: str) -> None:
        """What is waited for from now on, in a few words; empty: nothing. Plain lines leave it."""

    def started(self, startup_s: float, pids: Mapping[int, int]) -> None:
        """All workers have begun."""
        listed = " ".join(f"{stage}:{pid}" for stage, pid in sorted(pids.items()))
        self.note(f"{len(pids)} workers started in {startup_s:.2f} s (stage:pid {listed})")

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch of run: losses, the chosen metric, training seconds, samples per second.

        And the lowest cosine of all boundaries between synthetic and returned gradients, if any.
        In a terminal that is too narrow the least telling of them are left out.
        """
        parts = _epoch_parts(run, epoch)
        while self.console.is_terminal and _length(parts) > self.console.width:
            rank = max(rank for rank, _ in parts)
            if not rank:
                break
            parts = [part for part in parts if part[0] != rank]
        self.note("".join(text for _, text in parts))

    def end(self, report: Mapping[str, Any]) -> None:
        """What was told of a run that came to no good end; one that did is shown by who asked."""
        if report["status"] not in ("interrupted", "failed"):
            return
        if any(run["epochs"] or run["workers"] for run in report.get("runs", ())):
            print_report(report, self.console)


def _epoch_parts(run: RunResult, epoch: EpochResult) -> list[tuple[int, str]]:
    """What is said of an epoch, each with its rank: the highest is left out first, 0 never."""
    rate = epoch.num_samples / epoch.seconds if epoch.seconds > 0 else 0.0
    parts = [
        (0, f"{run.name:<20} epoch {epoch.epoch:>3}"),
        (3, f"  loss {figure_text(LOSS, epoch.train_loss)}"),
        (0 if run.goal.metric == LOSS else 4, f"  test {figure_text(LOSS, epoch.test_loss)}"),
        (0, _chosen(run, epoch)),
        (2, f"  {epoch.seconds:6.2f} s"),
        (1, f"  {rate:>8,.0f}/s"),
    ]
    lowest = min(run.cosines(epoch.epoch).values(), default=None)
    return parts if lowest is None else [*parts, (5, f"  cosine {lowest:.2f}")]


def _length(parts: list[tuple[int, str]]) -> int:
    return sum(len(text) for _, text in parts)


def _chosen(run: RunResult, epoch: EpochResult) -> str:
    """The chosen metric of an epoch; accuracy needs no name beside its per cent."""
    metric = run.goal.metric
    if metric == LOSS:
        return ""
    text = figure_text(metric, run.figure(epoch))
    return f" {text:>7}" if metric == "accuracy" else f"  {metric} {text}"
