"""What a notebook shows while a run goes on: one table that changes, and ends as the result."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from rich.console import Console

from dni_async.config.metric_names import LOSS
from dni_async.launcher.dashboard.header import told_pace
from dni_async.launcher.dashboard.ledger import LedgerWatcher, Moment
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.monitoring.live.awaited import awaited_of
from dni_async.launcher.monitoring.live.head import clock
from dni_async.launcher.monitoring.live.stages import stage_cells
from dni_async.launcher.report.html.parts import table
from dni_async.launcher.report.html.result import draw_notes, draw_piece, draw_result
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.launcher.report.rows import figure_text
from dni_async.wire.foreign_text import html_of, legible
from dni_async.wire.messages import Progress

__all__ = ["NotebookDisplay", "current_cell", "open_place"]

EVERY_S = 0.4  # at most so often is anything sent to a browser
NUM_EPOCHS = 6  # the last ones
NUM_NOTES = 8
Bundle = dict[str, str]


class Place(Protocol):
    """Where in a notebook something is shown, and shown anew."""

    def show(self, bundle: Bundle) -> None: ...


class NotebookDisplay(LedgerWatcher, Display):
    """Tells place of the run, by mime type, a few times a second; at its end, of the result."""

    def __init__(
        self, console: Console, place: Place, clock: Callable[[], float] = time.monotonic
    ) -> None:
        LedgerWatcher.__init__(self)
        Display.__init__(self, console)
        self._place = place
        self._clock = clock
        self._shown_at = -EVERY_S
        self._notes: deque[str] = deque(maxlen=NUM_NOTES)
        self._epochs: deque[tuple[RunResult, EpochResult]] = deque(maxlen=NUM_EPOCHS)
        self._gone: set[int] = set()
        self._waits = ""
        self._report: Mapping[str, Any] | None = None  # of a run that is over

    def note(self, text: str) -> None:
        """Kept among the last ones."""
        self._notes.append(legible(text))
        self._show(at_once=True)  # it may be all that happens for long

    def waiting(self, text: str) -> None:
        """What is waited for from now on."""
        is_new, self._waits = text != self._waits, text
        self._show(at_once=is_new and self._report is None)

    def begin(self, run: RunResult) -> None:
        """A network is trained from now on."""
        LedgerWatcher.begin(self, run)
        self._show()

    def progress(self, progress: Progress) -> None:
        """A worker's counters."""
        LedgerWatcher.progress(self, progress)
        self._gone.discard(progress.stage)
        self._show()

    def trained(self, run: RunResult, num_batches: int) -> None:
        """A baseline goes on."""
        LedgerWatcher.trained(self, run, num_batches)
        self._show()

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """A row more."""
        LedgerWatcher.epoch(self, run, epoch)
        self._epochs.append((run, epoch))
        self._show()

    def died(self, restart: RestartResult) -> None:
        """Its stage leaves the table."""
        self._gone.add(restart.stage)
        self._show()

    def end(self, report: Mapping[str, Any]) -> None:
        """The result takes the place of all that was shown."""
        self._report = report
        self._show(at_once=True)

    def close(self) -> None:
        """Of a run that did not begin nothing stays but what was said."""
        if self._report is None and self._shown_at >= 0:
            page = draw_piece(self._said())
            self._place.show({"text/html": page, "text/plain": self._plain()})

    def _show(self, *, at_once: bool = False) -> None:
        now = self._clock()
        if now - self._shown_at < EVERY_S and not at_once:
            return
        self._shown_at = now
        self._place.show({"text/html": self._page(), "text/plain": self._plain()})

    def _page(self) -> str:
        if self._report is not None:  # whatever is said behind the end
            return draw_result(self._report, self._notes)
        moment = self._ledger.moment()
        body = [*self._head(moment), *self._stages(moment), *self._last_epochs(), self._said()]
        return draw_piece("".join(body))

    def _head(self, moment: Moment) -> Iterator[str]:
        if moment.facts is None or moment.status != "training":
            yield from self._awaited(self._waits)
            return
        told = told_pace(moment)
        left = "" if told["left_s"] is None else f"about {clock(told['left_s'])} left"
        rate = told["samples_per_second"]
        facts = [
            told["phase"],
            f"epoch {told['epoch']:,} of {told['epochs']:,}",
            f"{told['share']:.0%}",
            left,
            "" if rate is None else f"{rate:,.0f} samples/s",
            "" if told["value"] is None else _chosen(told),
            f"{told['num_restarts']} replaced" if told["num_restarts"] else "",
        ]
        yield f"<p>{html_of(' · '.join(filter(None, facts)))}</p>"
        yield f'<div class="bar"><i style="width: {100 * told["share"]:.1f}%"></i></div>'
        yield from self._awaited(self._waits or awaited_of(moment, sorted(self._gone)))

    def _awaited(self, text: str) -> Iterator[str]:
        """A line that is there always, so that what is below it stands still."""
        yield f'<p class="soft">{html_of(text) or "&#160;"}</p>'

    def _stages(self, moment: Moment) -> Iterator[str]:
        """While the workers train."""
        if not moment.runs or moment.runs[-1].kind == "baseline" or not moment.stages:
            return
        rows = [
            stage_cells(stage, now, missing="-")
            for stage, now in sorted(moment.stages.items())
            if stage not in self._gone
        ]
        names = ["stage", "updates", "updates/s", "busy", "sending", "stale", "memory"]
        yield f'<div class="scroll">{table(names, rows)}</div>'

    def _last_epochs(self) -> Iterator[str]:
        if self._epochs:
            metric = self._epochs[-1][0].goal.metric
            chosen = [] if metric == LOSS else [f"test {metric}"]
            names = ["run", "epoch", "train loss", "test loss", *chosen, "seconds", "samples/s"]
            rows = [_epoch_row(*each) for each in reversed(self._epochs)]
            yield f'<div class="scroll">{table(names, rows)}</div>'

    def _plain(self) -> str:
        """For what shows no HTML."""
        return "\n".join([*self._notes, *map(_epoch_line, self._epochs)])

    def _said(self) -> str:
        """The notes, the last one first and in sight."""
        return f'<div class="soft">{draw_notes(reversed(self._notes))}</div>'


def _epoch_row(run: RunResult, epoch: EpochResult) -> list[str]:
    rate = epoch.num_samples / epoch.seconds if epoch.seconds > 0 else 0.0
    metric = run.goal.metric
    return [
        run.name,
        f"{epoch.epoch:,}",
        figure_text(LOSS, epoch.train_loss),
        figure_text(LOSS, epoch.test_loss),
        *([] if metric == LOSS else [figure_text(metric, run.figure(epoch))]),
        f"{epoch.seconds:.2f}",
        f"{rate:,.0f}",
    ]


def _epoch_line(told: tuple[RunResult, EpochResult]) -> str:
    """An epoch where there is no HTML."""
    run, epoch = told
    name, number, _, *figures, seconds, rate = _epoch_row(run, epoch)
    tested = f"test {'  '.join(figures)}"
    return legible(f"{name:<20} epoch {number:>3}  {tested}  {seconds} s  {rate}/s")


def _chosen(told: Mapping[str, Any]) -> str:
    """The chosen metric, as the head tells it."""
    return f"{told['metric']} {figure_text(told['metric'], told['value'])}"


class _Output:
    """An output of the cell that is being run."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, bundle: Bundle) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)


def open_place() -> Place:
    """Beneath the cell that is being run."""
    return _Output()


def current_cell() -> int | None:
    """The number of the cell that is being run; None where there is none."""
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return None if shell is None else shell.execution_count
