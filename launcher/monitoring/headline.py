"""What the user is told of a run before it begins."""

from __future__ import annotations

from pathlib import Path

from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.rows import layer_range

__all__ = ["headline"]


def _targets(plan: Plan) -> str:
    """What the data have for targets."""
    if plan.num_classes:
        return f"{plan.num_classes} classes"
    shape = ", ".join(map(str, plan.form.shape))
    return f"targets [{shape}], loss {plan.config.loss}" if shape else f"loss {plan.config.loss}"


def _amount(plan: Plan) -> str:
    """How much data there is."""
    if plan.num_train is None or plan.config.updates_per_epoch is not None:
        train = f"{plan.num_train_batches:,} training batches an epoch"
    else:
        train = f"{plan.num_train:,} training samples"
    if plan.num_test is None:
        return f"{train}, tests on batches as they come"
    test = f"{plan.num_test:,} test samples" if plan.num_test else "nothing to test on"
    return f"{train}, {test}"


def headline(plan: Plan, run_dir: Path) -> str:
    """What is trained on what, by how many workers and where it is kept."""
    ranges = " ".join(layer_range(first, end) for first, end in plan.layer_ranges)
    return (
        f"{plan.dataset_name}: {_amount(plan)}, {_targets(plan)}\n"
        f"{plan.num_stages} workers on {', '.join(dict.fromkeys(plan.devices))} with "
        f"{plan.threads_per_worker} thread(s) each, {plan.cores} cores; layers by stage: {ranges}\n"
        f"run directory: {run_dir}"
    )
