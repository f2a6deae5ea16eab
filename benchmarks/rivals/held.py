"""Arms whose every worker, rank and thread is held to a share of a core, as if it had a core.

The cores are slow ones then, but there are as many as one likes: a line can be measured that is
longer than the machine is wide. Whoever starts, feeds and tests a run is not held.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.harness.facts import Observation
from benchmarks.harness.shares import hold_process
from benchmarks.harness.team import Team
from benchmarks.rivals.arms import SCHEDULES, epoch_of, num_train_of, train_arm
from dni_async.config.run_config import RunConfig
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.report.worker_results import WorkerResult

__all__ = ["HELD_ARMS", "ONE_CORE", "OURS", "HeldRun", "num_members", "train_held"]

OURS, ONE_CORE = "dni", "one-core"
HELD_ARMS = (OURS, ONE_CORE, "all-cores", "1f1b", "data-parallel")
SATURATED = 0.95  # of the cores' time: then nobody had the share that was meant for him


@dataclass(slots=True)
class HeldRun:
    """One run of one arm. busy_share: of all cores' time while it was counted; others_cores: kept
    busy then by what is not of the benchmark; None where nobody tells. not_comparable: why its
    speed says nothing, in a clause; None where it does.
    """

    arm: str
    epochs: list[EpochResult]
    busy_share: float | None = None
    others_cores: float | None = None
    not_comparable: str | None = None
    workers: Sequence[WorkerResult] = field(default_factory=list)

    @property
    def counted(self) -> list[EpochResult]:
        """The epochs without the first, unless there is no other."""
        return self.epochs[1:] or self.epochs

    @property
    def samples_per_second(self) -> float:
        """Of the epochs that count."""
        return sum(e.num_samples for e in self.counted) / sum(e.seconds for e in self.counted)

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        return {
            "samples_per_second": self.samples_per_second,
            "epochs": [
                [each.seconds, each.test_loss, each.test_metrics.get("accuracy")]
                for each in self.epochs
            ],
            "num_samples": self.epochs[-1].num_samples,
            "train_loss": self.epochs[-1].train_loss,
            "busy_share": self.busy_share,
            "others_cores": self.others_cores,
            "not_comparable": self.not_comparable,
            "workers": [
                {name: row[name] for name in ("stage", "layers", "busy", "waiting", "sending")}
                for row in (worker.to_dict() for worker in self.workers)
            ],
        }


class _Watch:
    """How busy the machine is while epochs are trained that count."""

    def __init__(self, run: HeldRun, num_epochs: int) -> None:
        self._run, self._num_epochs = run, num_epochs
        self._observation = Observation()

    def epoch(self, epoch: EpochResult) -> None:
        """One is over."""
        run = self._run
        run.epochs.append(epoch)
        if len(run.epochs) == 1 and self._num_epochs > 1:
            self._observation = Observation()
        elif len(run.epochs) == self._num_epochs:
            facts = self._observation.facts()
            run.busy_share, run.others_cores = facts["busy_share"], facts["others_cores"]
            run.not_comparable = facts["not_comparable"]
            if (run.busy_share or 0.0) > SATURATED:
                run.not_comparable = f"all cores were busy for {run.busy_share:.0%} of the time"


class _Holding(Display):
    """Holds each worker as soon as all have begun; prints nothing."""

    def __init__(self, console: Console, groups: Sequence[Path], watch: _Watch) -> None:
        super().__init__(console)
        self._groups, self._watch = groups, watch

    def started(self, startup_s: float, pids: Mapping[int, int]) -> None:
        """Before the first batch."""
        super().started(startup_s, pids)
        for stage, pid in pids.items():
            hold_process(self._groups[stage], pid)

    def epoch(self, run: RunResult, epoch: EpochResult) -> None:
        """All cores have been watched up to its end."""
        super().epoch(run, epoch)
        self._watch.epoch(epoch)


def num_members(arm: str, num_cores: int) -> int:
    """Threads of an arm, or processes: as many as it has cores."""
    return 1 if arm == ONE_CORE else num_cores


def train_held(
    arm: str,
    config: RunConfig,
    groups: Sequence[Path],
    *,
    microbatches: int,
    waiting: str = "sleep",
) -> HeldRun:
    """Train config's network as arm does, member by member on the shares of a core that are groups.

    microbatches: of 1f1b; waiting: what threads do that have nothing to do, spin or sleep. Raises
    DniError when a process of the arm fails; none outlives the call.
    """
    run = HeldRun(arm, [])
    watch = _Watch(run, config.epochs)
    if arm == OURS:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            trained = train_arm("dni", config, _Holding(Console(file=nowhere), groups, watch))
        run.workers = trained.workers
    elif arm in (ONE_CORE, "all-cores"):
        _train_alone(arm, config, groups[: num_members(arm, len(groups))], waiting, watch)
    else:
        _train_ranks(arm, config, groups, microbatches, watch)
    return run


def _train_alone(
    arm: str, config: RunConfig, groups: Sequence[Path], waiting: str, watch: _Watch
) -> None:
    """One process, a thread for each group."""
    order = {
        "config": config.to_dict(),
        "num_threads": len(groups),
        "groups": [str(group) for group in groups],
    }
    sleeps = waiting == "sleep"
    with Team("benchmarks.rivals.alone", 1, num_threads=len(groups), shares_cores=sleeps) as team:
        team.tell(0, order)
        for _ in range(config.epochs):
            watch.epoch(EpochResult(**team.hear(0)))


def _train_ranks(
    arm: str, config: RunConfig, groups: Sequence[Path], microbatches: int, watch: _Watch
) -> None:
    """One rank for each group."""
    num_train = num_train_of(config)
    module = "data_parallel" if arm == "data-parallel" else "pipelining"
    with Team(f"benchmarks.rivals.{module}", len(groups)) as team:
        order = {
            "config": config.to_dict(),
            "num_threads": 1,
            "num_ranks": len(groups),
            "store": str(team.folder / "rendezvous"),
            "schedule": SCHEDULES.get(arm, ""),
            "groups": [str(group) for group in groups],
            "microbatches": microbatches,
        }
        team.tell_all([order] * len(groups))
        for _ in range(config.epochs):
            watch.epoch(epoch_of(team, arm, len(groups), num_train))
