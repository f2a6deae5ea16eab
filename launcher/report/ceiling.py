"""How fast a line of stages could go, from what each of its workers measured.

A line cannot pass a batch more often than its slowest stage takes for one, and all stages together
cannot do more work per second than there are cores::

    ceiling = min(1 / max(stage seconds per batch), cores / sum(processor seconds per batch))

Where more threads compute than there are cores, a stage's busy time holds waiting for a core, so
its processor time stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dni_async.launcher.report.rows import ours_of
from dni_async.wire.counters import FIGURES

__all__ = ["Limit", "Line", "StageLoad", "measure_line"]

LITTLE_WAITING = 0.1

Limit = Literal["stage", "cores", "lockstep"]


@dataclass(frozen=True, slots=True)
class StageLoad:
    """One stage's work. batch_seconds: what it takes for a batch when it has all that it needs.

    cpu_seconds: processor time for a batch. busy, waiting, sending: shares of its time; blocked:
    the part of waiting in which only a full window kept it from a batch; starved: in which its
    batch was still being made. waits_for: what it mostly
    waited for, empty if it waited little. phases: seconds of a batch by what was done, where spans
    were recorded.
    """

    stage: int
    num_layers: int
    batch_seconds: float
    cpu_seconds: float
    busy: float
    waiting: float
    sending: float
    blocked: float
    starved: float
    waits_for: str
    phases: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A decoupled run's stages. samples_per_second, ceiling: measured, and possible at most.

    limit: what sets the ceiling. num_batches: in an epoch, of batch_samples on average.
    used_cores: processor time per second of training; ready_cores: how many the stages would have
    used had each had its own.
    """

    loads: tuple[StageLoad, ...]
    cores: int
    num_threads: int
    num_batches: int
    batch_samples: float
    samples_per_second: float
    ceiling: float
    limit: Limit
    used_cores: float
    ready_cores: float

    @property
    def slowest(self) -> StageLoad:
        """The bottleneck: the stage that takes longest for a batch."""
        return max(self.loads, key=lambda load: load.batch_seconds)

    @property
    def mean_batch_seconds(self) -> float:
        """What the stages take for a batch on average."""
        return sum(load.batch_seconds for load in self.loads) / len(self.loads)

    @property
    def share(self) -> float:
        """How much of the ceiling was reached."""
        return self.samples_per_second / self.ceiling


def measure_line(report: Mapping[str, Any]) -> Line | None:
    """The line of a report's decoupled run; None if a stage did no batch or tells too little."""
    run = ours_of(report)
    if run is None or not run["workers"]:
        return None
    workers = run["workers"]
    cores = report["environment"]["cores"]
    num_batches, batch_samples = _batches(report)
    last_epoch = run["epochs"][-1]["epoch"] if run["epochs"] else 0
    in_epochs = last_epoch * num_batches if run["samples_per_second"] else 0
    config = report["config"]
    share = config.get("update_probability", 1.0) / config.get("accumulate", 1)
    # Not every batch is an update with every rule.
    trained = [round(worker["updates"] / share) or in_epochs for worker in workers]
    if not all(trained) or not all(map(_tells_enough, workers)):
        return None
    loads = tuple(
        _load(worker, run, cores, batches) for worker, batches in zip(workers, trained, strict=True)
    )
    limit, seconds = _limit(loads, cores, lockstep=run.get("is_lockstep", False))
    passed = run["samples_per_second"] / batch_samples  # batches per second
    at_work = [
        (worker["train_busy_seconds"] + worker["train_sending_seconds"]) / batches
        for worker, batches in zip(workers, trained, strict=True)
    ]
    return Line(
        loads=loads,
        cores=cores,
        num_threads=run["num_threads"],
        num_batches=num_batches,
        batch_samples=batch_samples,
        samples_per_second=run["samples_per_second"],
        ceiling=batch_samples / seconds,
        limit=limit,
        used_cores=passed * sum(load.cpu_seconds for load in loads),
        ready_cores=passed * sum(at_work),
    )


def _batches(report: Mapping[str, Any]) -> tuple[int, float]:
    """Training batches of an epoch, and samples of a batch on average."""
    data, batch_size = report["data"], report["config"]["batch_size"]
    num_batches = data.get("num_train_batches")  # older reports have none
    if num_batches is None:
        num_batches = math.ceil((data["num_train"] or batch_size) / batch_size)
    if data["num_train"] is None or report["config"].get("updates_per_epoch"):
        return num_batches, batch_size
    return num_batches, data["num_train"] / num_batches


def _tells_enough(worker: Mapping[str, Any]) -> bool:
    """Older reports lack some figures; a worker that has not trained took no time."""
    is_whole = all(each.shown.report in worker for each in FIGURES if each.shown.report)
    return is_whole and worker["train_cpu_seconds"] > 0 and worker["train_busy_seconds"] > 0


def _load(
    worker: Mapping[str, Any], run: Mapping[str, Any], cores: int, num_trained: int
) -> StageLoad:
    cpu_seconds = worker["train_cpu_seconds"] / num_trained
    seconds = (worker["train_busy_seconds"] + worker["train_sending_seconds"]) / num_trained
    if worker["phases"]:
        seconds = sum(worker["phases"].values())
    if worker["device"] == "cpu" and run["num_threads"] > cores:
        seconds = min(seconds, cpu_seconds * run["num_workers"] / run["num_threads"])
    first, end = worker["layers"]
    return StageLoad(
        stage=worker["stage"],
        num_layers=end - first,
        batch_seconds=seconds,
        cpu_seconds=cpu_seconds,
        busy=worker["busy"],
        waiting=worker["waiting"],
        sending=worker["sending"],
        blocked=worker["waiting_for_credits"],
        starved=worker["waiting_for_data"],
        waits_for=_waits_for(worker),
        phases=worker["phases"],
    )


def _waits_for(worker: Mapping[str, Any]) -> str:
    stage = worker["stage"]
    if worker["waiting"] < LITTLE_WAITING:
        return ""
    if worker["waiting_for_credits"] >= worker["waiting"] / 2:
        return f"credits from stage {stage + 1}"
    if worker["waiting_for_data"] >= worker["waiting"] / 2:
        return "data"
    return f"activations from stage {stage - 1}" if stage > 0 else "epochs to end"


def _limit(loads: Sequence[StageLoad], cores: int, *, lockstep: bool) -> tuple[Limit, float]:
    """What bounds the line, and the seconds per batch that it allows."""
    if lockstep:
        return "lockstep", sum(load.batch_seconds for load in loads)
    by_stage = max(load.batch_seconds for load in loads)
    by_cores = sum(load.cpu_seconds for load in loads) / cores
    return ("cores", by_cores) if by_cores > by_stage else ("stage", by_stage)
