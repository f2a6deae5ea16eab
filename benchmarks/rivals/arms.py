"""The arms of a training benchmark: the same network, data, order and optimizer, trained their way.

Every arm runs in processes of its own that are gone when it is done, and counts training time
alone. The first epoch of a throughput run warms up and is not counted.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from benchmarks.harness.hosts.hosts import Host
from benchmarks.harness.team import Team
from dni_async.config.run_config import RunConfig
from dni_async.decisions.goal import Goal
from dni_async.launcher.coordination.coordinator import train_decoupled
from dni_async.launcher.jobs.balance import balance, needs_balance, weighed
from dni_async.launcher.jobs.baseline_process import train_baseline, waiting_beside
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.plan.plan import make_plan
from dni_async.launcher.report.building import decoupled_result
from dni_async.launcher.report.results import EpochResult, MoveResult, RestartResult, RunResult
from dni_async.launcher.report.worker_results import LinkResult, WorkerResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.system.machine import available_cores
from dni_async.wire.messages import BoundaryEpoch

__all__ = [
    "ALL_ARMS",
    "ARMS",
    "SCHEDULES",
    "Trained",
    "epoch_of",
    "num_ranks_of",
    "num_train_of",
    "train_arm",
    "train_rival_on",
]

ARMS = (
    "dni",
    "baseline-1-thread",
    "baseline-all-threads",
    "gpipe",
    "1f1b",
    "data-parallel",
)
PROFILED = "dni-profiled"  # with --profile, to see what that costs
ALL_ARMS = (*ARMS, PROFILED)
SCHEDULES = {"gpipe": "GPipe", "1f1b": "1F1B"}
PIPELINE_RANKS = 4
GOAL = Goal("accuracy", "max")


@dataclass(frozen=True, slots=True)
class Trained:
    """One run of one arm. workers, restarts, moves, links, boundaries: of dni only.

    others_cores: kept busy while it trained by what is not of the run; None where nobody tells.
    """

    arm: str
    num_processes: int
    num_threads: int
    epochs: Sequence[EpochResult]
    startup_seconds: float = 0.0
    others_cores: float | None = None
    workers: Sequence[WorkerResult] = field(default_factory=list)
    restarts: Sequence[RestartResult] = field(default_factory=list)
    moves: Sequence[MoveResult] = field(default_factory=list)
    links: Sequence[LinkResult] = field(default_factory=list)
    boundaries: Sequence[BoundaryEpoch] = field(default_factory=list)

    @property
    def samples_per_second(self) -> float:
        """Without the first epoch, unless there is no other."""
        counted = self.epochs[1:] or self.epochs
        seconds = sum(epoch.seconds for epoch in counted)
        return sum(epoch.num_samples for epoch in counted) / seconds

    @property
    def num_train(self) -> int:
        """Samples per epoch."""
        return self.epochs[0].num_samples

    @property
    def train_loss(self) -> float:
        """Of the last epoch, per sample: the arms do learn the same thing."""
        loss = self.epochs[-1].train_loss
        assert loss is not None
        return loss

    @property
    def result(self) -> RunResult:
        """As a report knows it."""
        return RunResult(
            name=self.arm,
            kind="decoupled" if self.workers else "baseline",
            rule="",
            num_workers=self.num_processes,
            num_threads=self.num_threads,
            goal=GOAL,
            others_cores=self.others_cores,
            epochs=list(self.epochs),
        )


def train_rival_on(hosts: Sequence[Host], arm: str, config: RunConfig) -> Trained:
    """As train_arm, for gpipe and 1f1b, with one rank on each host."""
    return _train_rival(arm, "benchmarks.rivals.pipelining", config, hosts)


def train_arm(
    arm: str,
    config: RunConfig,
    display: Display | None = None,
    *,
    beside: Trained | None = None,
    look: Callable[[RunFolder], None] | None = None,
) -> Trained:
    """Train config's network as arm does; config's data are in whole batches.

    display: is told what the user would see, of dni only. beside: our run that a baseline is held
    against; its threads wait as they do in a run of the launcher. look: is given our run's folder
    before that is gone. Raises DniError when a process of the arm fails; none outlives the call.
    """
    if arm in ("dni", PROFILED):
        return _train_ours(arm, replace(config, profile=arm == PROFILED), display, look)
    if arm.startswith("baseline"):
        return _train_baseline(arm, config, beside)
    if arm == "data-parallel":
        return _train_rival(arm, "benchmarks.rivals.data_parallel", config)
    return _train_rival(arm, "benchmarks.rivals.pipelining", config)


def num_ranks_of(arm: str, config: RunConfig) -> int:
    """Processes of a torch.distributed arm: pipelines have four stages, or as many as layers."""
    return available_cores() if arm == "data-parallel" else min(PIPELINE_RANKS, config.layers)


def _train_ours(
    arm: str,
    config: RunConfig,
    watching: Display | None,
    look: Callable[[RunFolder], None] | None,
) -> Trained:
    def train(folder: RunFolder, display: Display) -> RunResult:
        if config.profile:
            folder.make_profile()
        plan = make_plan(config)
        if needs_balance(plan):
            plan, _ = balance(plan)
        plan = weighed(plan)
        result = replace(decoupled_result(plan), name=arm)
        train_decoupled(plan, folder, watching or display, result)
        if look is not None:
            look(folder)
        return result

    return _trained(_in_folder(config, train))


def _train_baseline(arm: str, config: RunConfig, beside: Trained | None) -> Trained:
    def train(folder: RunFolder, display: Display) -> RunResult:
        plan = make_plan(config)
        num_threads = 1 if arm == "baseline-1-thread" else plan.cores
        ours = Trained("dni", 0, 0, ()) if beside is None else beside
        # The load before it is that of the arms before it: what is not told is quiet.
        quiet = replace(plan, load=0.0)
        result = RunResult(
            name=arm,
            kind="baseline",
            rule="backprop",
            num_workers=1,
            num_threads=num_threads,
            waiting=waiting_beside(ours.result, quiet, num_threads),
        )
        train_baseline(plan, folder, display, result)
        return result

    return _trained(_in_folder(config, train))


def _in_folder(config: RunConfig, train: Callable[[RunFolder, Display], RunResult]) -> RunResult:
    """What train gives, in a run folder that is gone afterwards, with nothing printed."""
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as temporary:
        folder = RunFolder(Path(temporary) / "run")
        folder.create(config.to_toml())
        try:
            with open(os.devnull, "w", encoding="utf-8") as nowhere:
                return train(folder, Display(Console(file=nowhere)))
        finally:
            folder.close()


def _trained(result: RunResult) -> Trained:
    return Trained(
        arm=result.name,
        num_processes=result.num_workers,
        num_threads=result.num_threads,
        epochs=result.epochs,
        startup_seconds=result.startup_seconds,
        others_cores=result.others_cores,
        workers=result.workers,
        restarts=result.restarts,
        moves=result.moves,
        links=result.links,
        boundaries=result.boundaries,
    )


def _train_rival(arm: str, module: str, config: RunConfig, hosts: Sequence[Host] = ()) -> Trained:
    """Ranks of a torch.distributed arm, the cores shared out among them as among our workers."""
    num_ranks = num_ranks_of(arm, config)
    num_threads = max(1, available_cores() // num_ranks)
    num_train = num_train_of(config)
    with Team(module, num_ranks, num_threads=num_threads, hosts=hosts) as team:
        order = {
            "config": config.to_dict(),
            "num_threads": num_threads,
            "num_ranks": num_ranks,
            "store": str(team.folder / "rendezvous"),
            "schedule": SCHEDULES.get(arm, ""),
        }
        team.tell_all([order] * num_ranks)
        epochs = [epoch_of(team, arm, num_ranks, num_train) for _ in range(config.epochs)]
    return Trained(arm, num_ranks, num_ranks * num_threads, epochs)


def num_train_of(config: RunConfig) -> int:
    """Samples of an epoch, of which a run's data are whole batches."""
    num_train = make_plan(config).num_train
    assert num_train is not None, "benchmarks train on arrays"
    return num_train


def epoch_of(team: Team, arm: str, num_ranks: int, num_train: int) -> EpochResult:
    """The slowest rank's. A pipeline knows the loss at its end, data parallel ranks a part each."""
    rows = [team.hear(rank) for rank in range(num_ranks)]
    losses = [row["train_loss"] for row in rows]
    loss = sum(losses) / num_ranks if arm == "data-parallel" else losses[-1]
    seconds = max(row["seconds"] for row in rows)
    return EpochResult(rows[0]["epoch"], seconds, loss, None, {}, num_train)
