"""The timeline of a run: by its trace where one was recorded, else by what workers told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dni_async.files import names
from dni_async.launcher.dashboard.ledger import Moment, StageNow
from dni_async.launcher.dashboard.told_marks import Told
from dni_async.launcher.report.html.timeline.lockstep import (
    StageTime,
    batch_seconds,
    in_lockstep,
    lockstep_times,
)
from dni_async.launcher.report.html.timeline.recorded import Trace, read_trace, window_of

__all__ = ["FIRST_BATCHES", "Timelines", "told_batch_s", "told_timeline"]

LAST_S = 10.0
SHORTEST_S = 1e-5
FIRST_BATCHES = 16  # that the first look at a trace shows


def told_timeline(moment: Moment, told: Told | None = None, *, is_lockstep: bool) -> dict[str, Any]:
    """The last seconds of a run that goes on: mark by mark where its workers tell those.

    Else as shares of the time between two reports. told: those marks, their zero that of moment.
    """
    began_s, ended_s = max(0.0, moment.at_s - LAST_S), moment.at_s
    if told is not None:
        began_s, ended_s = told.began_s, told.ended_s
    times = [_time_of(moment, stage) for stage in sorted(moment.stages)]
    lockstep = in_lockstep(times, began_s, ended_s)
    if is_lockstep:
        shown = lockstep
    elif told is not None:
        shown = window_of(told.trace, began_s, ended_s)
    else:
        recent = sorted(moment.stages.items())
        shown = {"tracks": [{"stage": s, "pieces": list(_pieces(n, began_s))} for s, n in recent]}
    return {
        "source": "counters" if told is None else "told",
        "began_s": began_s,
        "ended_s": ended_s,
        "end_s": ended_s,
        "lockstep_s": lockstep["period_s"],
        "batch_s": told_batch_s(moment),
        "tracks": shown["tracks"],
        "arrows": shown.get("arrows", []),
    }


def _pieces(now: StageNow, began_s: float) -> Iterator[list[float]]:
    """One after another as they were heard, though a worker's clock may say a little else."""
    before_s = None
    for at_s, pace in now.recent:
        is_next = before_s is not None and at_s - before_s < 2 * pace.seconds
        first_s = before_s if before_s is not None and is_next else at_s - pace.seconds
        before_s = at_s
        if at_s > began_s:
            yield [round(first_s, 4), round(at_s, 4), pace.busy, pace.waiting, pace.sending]


def _time_of(moment: Moment, stage: int) -> StageTime:
    """Counters do not tell up from down: a backward pass is two products of matrices to one."""
    counters = moment.stages[stage].last.counters
    works_s = counters.times.train_busy_s + counters.times.train_sending_s
    facts, run = moment.facts, moment.runs[0]
    if facts and run.num_threads > facts.cores and facts.stages[stage].device == "cpu":
        # A stage that waits for a core does not work; see measure_line.
        works_s = min(works_s, counters.times.train_cpu_s * run.num_workers / run.num_threads)
    batch_s = works_s / counters.work.updates if counters.work.updates else 0.0
    return StageTime(batch_s / 3, batch_s * 2 / 3)


def told_batch_s(moment: Moment) -> float:
    """Seconds of a batch, of the stage that passes fewest; 0 before that is known."""
    batches = [_batches_per_second(moment, stage) for stage in moment.stages]
    return 1 / min(batches) if batches and min(batches) > 0 else 0.0


def _batches_per_second(moment: Moment, stage: int) -> float:
    paces = [pace for _, pace in moment.stages[stage].recent if pace.updates]
    seconds = sum(pace.seconds for pace in paces)
    return sum(pace.updates * pace.seconds for pace in paces) / seconds if seconds else 0.0


class Timelines:
    """Those of runs that have left a trace; the one looked at last is kept."""

    def __init__(self) -> None:
        self._kept: tuple[Path, int, Trace | None] | None = None

    def of(
        self,
        folder: Path,
        began_s: float | None,
        length_s: float | None,
        *,
        is_lockstep: bool,
        report: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A window of a run's trace; without a beginning the one to start with."""
        trace = self._trace(folder / names.TRACE)
        if trace is None:
            return {"source": "none", "tracks": [], "arrows": []}
        end_s, batch_s = trace.end_s, batch_seconds(trace)
        length_s = min(max(length_s or FIRST_BATCHES * batch_s, SHORTEST_S), end_s)
        began_s = end_s / 2 if began_s is None else began_s
        began_s = min(max(began_s, 0.0), end_s - length_s)
        times, ended_s = lockstep_times(trace, report), began_s + length_s
        lockstep = in_lockstep(times, began_s, ended_s)
        window = lockstep if is_lockstep else window_of(trace, began_s, ended_s)
        return {
            "source": "trace",
            "began_s": began_s,
            "ended_s": ended_s,
            "end_s": end_s,
            "lockstep_s": lockstep["period_s"],
            "batch_s": batch_s,
            "tracks": window["tracks"],
            "arrows": window.get("arrows", []),
        }

    def _trace(self, path: Path) -> Trace | None:
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return None
        if self._kept is None or self._kept[:2] != (path, changed):
            self._kept = (path, changed, read_trace(path))
        return self._kept[2]
