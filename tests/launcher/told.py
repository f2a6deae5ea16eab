"""What workers and the coordinator tell of a run, made up for tests."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

from dni_async.config.run_config import RunConfig
from dni_async.decisions.goal import Goal
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.curves import CurvePoint
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.wire.counters import FIGURES, Counters
from dni_async.wire.messages import BoundaryEpoch, Progress

EPOCH = EpochResult(1, 0.5, 0.25, 0.5, {"accuracy": 0.75}, 1000)
GOAL = Goal("accuracy", "max")


def progress(stage: int, **changes: Any) -> Progress:
    """What a worker tells of itself."""
    return Progress("run", stage, counted(**changes))


def counted(**changes: Any) -> Counters:
    """All that a worker counts, with changes by the names of figures."""
    values: dict[str, Any] = {
        "updates": 10, "epoch": 1, "busy_s": 1.0, "waiting_s": 2.0, "sending_s": 0.5,
        "max_staleness": 3, "max_pending": 2, "rss_bytes": 2**20, "train_busy_s": 1.0,
        "train_cpu_s": 1.0, "occupancy": 0.5, "staleness_median": 1, "staleness_p99": 2,
        "frame_bytes": 30, "shared_bytes": 40, "peak_rss_bytes": 2**21, "credit_waiting_s": 0.25,
        "skipped": 5, "replayed": 6, **changes,
    }  # fmt: skip
    groups: dict[str, dict[str, Any]] = {}
    for figure in FIGURES:
        if figure.name in values:
            groups.setdefault(figure.group, {})[figure.key] = values.pop(figure.name)
    assert not values
    nothing = Counters()
    return Counters(
        **{name: dataclasses.replace(getattr(nothing, name), **groups[name]) for name in groups}
    )


def point(stage: int, updates: int, **figures: Any) -> CurvePoint:
    """A point of a curve, of twenty samples a second."""
    values = {"seconds": 0.5, "samples_per_second": 20.0, **figures}
    return CurvePoint(stage=stage, updates=updates, **values)


def plan(
    *, num_train_batches: int, num_stages: int = 2, dataset_name: str = "digits", **settings: Any
) -> Plan:
    """What a watcher is told of a run's plan, with these settings."""
    told = SimpleNamespace(
        num_train_batches=num_train_batches,
        num_stages=num_stages,
        dataset_name=dataset_name,
        config=RunConfig(**settings),
    )
    return cast("Plan", told)


def decoupled(*epochs: EpochResult, cosine: float = 0.5) -> RunResult:
    """A run of two stages whose boundary has told of these epochs; stage 1 was replaced once."""
    run = RunResult("dni", "decoupled", "dni", 2, 2, goal=GOAL, epochs=list(epochs))
    run.boundaries = [
        BoundaryEpoch("run", 0, epoch.epoch, 9, cosine, 0.75, 0.25, 2, 7) for epoch in epochs
    ]
    run.restarts.append(RestartResult(1, "killed", 0.1))
    return run


def baseline(*epochs: EpochResult) -> RunResult:
    """The same network by backpropagation."""
    return RunResult("baseline", "baseline", "backprop", 1, 1, goal=GOAL, epochs=list(epochs))
