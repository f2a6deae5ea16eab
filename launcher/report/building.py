"""report.json: what a run was, where, and what came of it, put together at its end."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import RunResult

__all__ = ["SCHEMA", "build_report"]

SCHEMA = 1


def build_report(
    plan: Plan, runs: Sequence[RunResult], *, status: str = "finished"
) -> dict[str, Any]:
    """The whole of report.json. status: finished, interrupted or failed."""
    by_name = {run.name: run for run in runs}
    one = by_name.get("baseline-1-thread")
    every = by_name.get("baseline-all-threads")
    ours = next((run for run in runs if run.kind == "decoupled"), None)
    return {
        "schema": SCHEMA,
        "status": status,
        "config": plan.config.to_dict(),
        "environment": {
            "cores": plan.cores,
            "load": round(plan.load, 2),
            "torch": version("torch"),
            "pyzmq": version("pyzmq"),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "processor": _processor(),
            "devices": sorted(set(plan.devices)),
        },
        "data": {
            "name": plan.dataset_name,
            "num_train": plan.num_train,
            "num_train_batches": plan.num_train_batches,
            "num_test": plan.num_test,
            "num_classes": plan.num_classes,
            "target_shape": list(plan.form.shape),
            "input_shape": list(plan.input_shape),
            "holds_ids": plan.holds_ids,
        },
        "runs": [run.to_dict() for run in runs],
        "speedup": None if ours is None else _speedup(ours, one, every),
    }


def _speedup(
    run: RunResult, one: RunResult | None, every: RunResult | None
) -> dict[str, float | None]:
    """run's samples per second over each baseline's; times to target the other way round."""

    def rate(baseline: RunResult | None) -> float | None:
        if baseline is None or baseline.samples_per_second == 0:
            return None
        return round(run.samples_per_second / baseline.samples_per_second, 3)

    ours = run.seconds_to(run.goal.target)
    theirs = None if every is None else every.seconds_to(run.goal.target)
    to_target = round(theirs / ours, 3) if ours and theirs else None
    return {
        "vs_one_thread": rate(one),
        "vs_all_threads": rate(every),
        "time_to_target_vs_all_threads": to_target,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
