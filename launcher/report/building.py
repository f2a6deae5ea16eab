"""report.json: what a run was, where, and what came of it, put together at its end."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dni_async.config.run_config import RunConfig
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.comparison import ALL_THREADS, ONE_THREAD, compare
from dni_async.launcher.report.results import RunResult
from dni_async.wire.foreign_text import without_password

__all__ = ["SCHEMA", "build_report", "decoupled_result", "shown_settings"]

SCHEMA = 1


def shown_settings(config: RunConfig) -> dict[str, Any]:
    """All settings as they may be shown and sent: a password stays in config.toml alone."""
    settings = config.to_dict()
    if config.mlflow is not None:
        settings["mlflow"] = without_password(config.mlflow)
    return settings


def decoupled_result(plan: Plan) -> RunResult:
    """Of the decoupled run, which has yet to begin."""
    config = plan.config
    return RunResult(
        name=config.rule,
        kind="decoupled",
        rule=config.rule,
        num_workers=plan.num_stages,
        num_threads=plan.num_stages * plan.threads_per_worker,
        is_lockstep=plan.rule.is_lockstep,
        goal=config.goal,
        layers=list(plan.layer_ranges),
    )


def build_report(
    plan: Plan, runs: Sequence[RunResult], *, status: str = "finished"
) -> dict[str, Any]:
    """The whole of report.json. status: finished, interrupted or failed."""
    rows = [run.to_dict() for run in runs]
    environment = _environment(plan)
    comparison = compare(rows, environment)
    return {
        "schema": SCHEMA,
        "status": status,
        "config": shown_settings(plan.config),
        "environment": environment,
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
        "runs": rows,
        "comparison": comparison,
        "speedup": _speedup(runs, comparison["baselines"]),
    } | ({} if plan.choice is None else {"rule_choice": dict(plan.choice)})


def _environment(plan: Plan) -> dict[str, Any]:
    return {
        "cores": plan.cores,
        "load": round(plan.load, 2),
        "torch": version("torch"),
        "pyzmq": version("pyzmq"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "devices": sorted(set(plan.devices)),
    }


def _speedup(
    runs: Sequence[RunResult], baselines: Mapping[str, Mapping[str, Any]]
) -> dict[str, float | None] | None:
    """Samples per second over those of each baseline, and time to target the other way round.

    baselines: of the comparison. None for each that may not be compared; None without any run.
    """
    ours = next((run for run in runs if run.kind == "decoupled"), None)
    if ours is None:
        return None
    ratios = {name: told["ratio"] for name, told in baselines.items()}
    to_target = None
    if ratios.get(ALL_THREADS) is not None:
        every = next(run for run in runs if run.name == ALL_THREADS)
        ours_s, theirs_s = (run.seconds_to(ours.goal.target) for run in (ours, every))
        to_target = round(theirs_s / ours_s, 3) if ours_s and theirs_s else None
    return {
        "vs_one_thread": ratios.get(ONE_THREAD),
        "vs_all_threads": ratios.get(ALL_THREADS),
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
