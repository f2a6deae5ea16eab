"""All that a dashboard knows of the run that goes on: told in one thread, asked in another."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dni_async.launcher.dashboard.facts import Facts, facts_of
from dni_async.launcher.dashboard.pace import History, Pace, pace_between, row_of
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.report.watcher import Watcher
from dni_async.wire.messages import Progress

if TYPE_CHECKING:
    from dni_async.launcher.plan.plan import Plan

__all__ = ["Ledger", "LedgerWatcher", "Moment", "StageNow"]

RECENT = 30  # reports of a stage that are kept as they came: about 15 seconds; of a baseline, 8


@dataclass(frozen=True, slots=True)
class StageNow:
    """A stage as its worker last told. at_s, first_s: when it did, and when it did first.

    Seconds since the ledger was opened. recent: the last paces, each with the seconds at its end.
    first_id: the next batch when it told first, which a resumed run does not begin with.
    """

    last: Progress
    at_s: float
    first_s: float
    recent: tuple[tuple[float, Pace], ...]
    first_id: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """The run at one moment. at_s: seconds since the ledger was opened; began_s: by run, when.

    version: another one whenever anything is told. status: training, or as in a report. trained:
    what a baseline that goes on last told of its batches, with the seconds when it did.
    """

    version: int
    at_s: float
    status: str
    facts: Facts | None
    runs: tuple[RunResult, ...]
    began_s: tuple[float, ...]
    stages: Mapping[int, StageNow]
    trained: tuple[tuple[float, int], ...] = ()


class Ledger:
    """Keeps what is heard of a run. What it hands out is never changed afterwards.

    The launcher's thread holds the lock for microseconds; who asks holds it while copying.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._version = 0
        self._status = "starting"
        self._facts: Facts | None = None
        self._runs: tuple[RunResult, ...] = ()
        self._began_s: tuple[float, ...] = ()
        self._last: dict[int, tuple[Progress, float]] = {}
        self._first: dict[int, tuple[float, int]] = {}
        self._trained: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._recent: dict[int, deque[tuple[float, Pace]]] = {}
        self._history: dict[int, History] = {}

    def lay_out(self, facts: Facts) -> None:
        """What is to be trained, and by whom."""
        with self._lock:
            self._facts = facts
            self._version += 1

    def begin(self, run: RunResult) -> None:
        """A network is trained from now on; run fills as it goes."""
        with self._lock:
            self._runs = (*self._runs, run)
            self._began_s = (*self._began_s, self._now())
            self._status = "training"
            self._trained.clear()
            self._version += 1

    def progress(self, progress: Progress) -> None:
        """A worker's counters."""
        now, stage = self._now(), progress.stage
        with self._lock:
            self._version += 1
            before = self._last.get(stage)
            self._last[stage] = (progress, now)
            if before is None:
                self._first[stage] = (now, progress.counters.work.next_batch_id)
                return
            pace = pace_between(before[0].counters, progress.counters)
            if pace is not None:
                self._recent.setdefault(stage, deque(maxlen=RECENT)).append((now, pace))
                row = row_of(now, pace, progress.counters)
                self._history.setdefault(stage, History()).add(row)

    def trained(self, run: RunResult, num_batches: int) -> None:
        """A baseline has trained so many batches of its run."""
        with self._lock:
            self._trained.append((self._now(), num_batches))
            self._version += 1

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch of run; it stands in run already."""
        with self._lock:
            self._version += 1

    def end(self, report: Mapping[str, Any]) -> None:
        """The run is over; what its report says of its end."""
        with self._lock:
            self._status = report["status"]
            self._version += 1

    @property
    def version(self) -> int:
        """Another one whenever anything was told."""
        return self._version

    def moment(self) -> Moment:
        """The run as it stands."""
        with self._lock:
            stages = {
                stage: StageNow(
                    last,
                    at_s,
                    self._first[stage][0],
                    tuple(self._recent.get(stage, ())),
                    self._first[stage][1],
                )
                for stage, (last, at_s) in self._last.items()
            }
            return Moment(
                version=self._version,
                at_s=self._now(),
                status=self._status,
                facts=self._facts,
                runs=self._runs,
                began_s=self._began_s,
                stages=stages,
                trained=tuple(self._trained),
            )

    def history(self) -> dict[int, list[Any]]:
        """The rows of each stage; see pace.ROW."""
        with self._lock:
            return {stage: history.rows() for stage, history in sorted(self._history.items())}

    def _now(self) -> float:
        return time.monotonic() - self._began


class LedgerWatcher(Watcher):
    """Enters what it hears into a ledger; who adds to that calls these first."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def lay_out(self, plan: Plan) -> None:
        """What is to be trained, and by whom."""
        self._ledger.lay_out(facts_of(plan))

    def begin(self, run: RunResult) -> None:
        """A network is trained from now on."""
        self._ledger.begin(run)

    def progress(self, progress: Progress) -> None:
        """A worker's counters."""
        self._ledger.progress(progress)

    def trained(self, run: RunResult, num_batches: int) -> None:
        """A baseline's batches."""
        self._ledger.trained(run, num_batches)

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """An epoch of run."""
        self._ledger.epoch(run, epoch)

    def end(self, report: Mapping[str, Any]) -> None:
        """The run is over."""
        self._ledger.end(report)
