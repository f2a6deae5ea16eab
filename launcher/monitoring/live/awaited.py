"""What is waited for while a run seems to stand still, and the line that says so."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterable

from rich.console import Console, RenderResult
from rich.spinner import Spinner
from rich.text import Text

from dni_async.launcher.dashboard.header import position
from dni_async.launcher.dashboard.ledger import Moment
from dni_async.launcher.report.rows import stage_names

__all__ = ["WaitLine", "awaited_of"]

PATIENCE_S = 0.5  # what is over sooner is not worth a word
TOLD_S = 1.0  # from there on it is said for how long
SILENT_S = 3.0  # workers tell of themselves twice a second


def awaited_of(moment: Moment, gone: Iterable[int]) -> str:
    """What a run that trains waits for, as far as what was told lets one see; empty if nothing."""
    if gone:
        return f"another worker is awaited for {stage_names(gone)}"
    run = moment.runs[-1]
    at, _, _ = position(moment, run)
    done = run.epochs[-1].epoch if run.epochs else 0
    assert moment.facts is not None
    if at.testing is not None and at.epoch > done:
        return _of_test(at.epoch, at.testing, moment.facts.num_batches[1])
    if run.kind == "baseline":
        return ""
    if done >= moment.facts.epochs:
        return "the workers save their stages"
    silent = [k for k, now in moment.stages.items() if moment.at_s - now.at_s > SILENT_S]
    return f"nothing is heard of {stage_names(silent)}" if silent else ""


def _of_test(epoch: int, begun: int, batches: int) -> str:
    if not begun:
        return f"the test after epoch {epoch:,}"
    return f"the test after epoch {epoch:,}: batch {begun:,} of {batches:,}"


class WaitLine:
    """Says what is waited for once that takes a while, beside something that turns."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._text = ""
        self._since = 0.0
        self._spinner: Spinner | None = None

    def drawn(self, text: str, console: Console, width: int) -> RenderResult:
        """One line or more for text; an empty one where there is nothing to say."""
        now = self._clock()
        if text.partition(":")[0] != self._text.partition(":")[0]:
            self._since = now
        self._text = text
        if not text or now - self._since < PATIENCE_S:
            yield Text("")
            return
        if self._spinner is None:
            self._spinner = Spinner("line" if console.options.ascii_only else "dots")
        seconds = now - self._since
        said = f"{text} ({seconds:.0f} s)" if seconds >= TOLD_S else text
        first, *rest = textwrap.wrap(said, max(1, width - 2))
        turning = self._spinner.render(now)
        yield Text.assemble(turning if isinstance(turning, Text) else "", " ", first)
        yield from (Text(f"  {line}") for line in rest)
