"""What is drawn over seconds and epochs: losses, the chosen metric, agreement of gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any

from dni_async.config.metric_names import traits_of_metric
from dni_async.launcher.report.results import RunResult, boundaries_by_stage
from dni_async.launcher.report.rows import chosen_metric, metrics_of

__all__ = ["learning_of", "row_of_run"]

_AGREEMENT = ("cosine", "norm_ratio", "relative_error")


def row_of_run(run: RunResult) -> dict[str, Any]:
    """A run that may go on, as far as curves and comparison read it, as report.json has it."""
    return {
        "name": run.name,
        "kind": run.kind,
        "metric": run.goal.metric,
        "mode": run.goal.mode,
        "samples_per_second": run.samples_per_second,
        "others_cores": run.others_cores,
        "epochs": [asdict(epoch) for epoch in list(run.epochs)],
        "boundaries": boundaries_by_stage(list(run.boundaries)),
    }


def learning_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The curves of runs in the shape of report.json.

    seconds: of training alone, added up, so that curves compare learning per second. A value that
    was not measured is None.
    """
    metric = chosen_metric(runs)
    ours = next((run for run in runs if run["kind"] == "decoupled"), None)
    return {
        "metric": metric,
        "is_share": traits_of_metric(metric).is_share,
        "runs": [_curves(run, metric) for run in runs],
        "boundaries": [] if ours is None else [_agreement(b) for b in ours.get("boundaries", [])],
    }


def _curves(run: Mapping[str, Any], metric: str) -> dict[str, Any]:
    epochs = run["epochs"]
    measured = [metrics_of(epoch) for epoch in epochs]
    return {
        "name": run["name"],
        "kind": run["kind"],
        "epochs": [epoch["epoch"] for epoch in epochs],
        "seconds": [round(at, 4) for at in accumulate(epoch["seconds"] for epoch in epochs)],
        "train_loss": [epoch["train_loss"] for epoch in epochs],
        "test_loss": [each.get("loss") for each in measured],
        "metric": [each.get(metric) for each in measured],
        "samples_per_second": [
            round(epoch["num_samples"] / epoch["seconds"], 1)
            if epoch.get("num_samples") and epoch["seconds"] > 0
            else None
            for epoch in epochs
        ],
    }


def _agreement(boundary: Mapping[str, Any]) -> dict[str, Any]:
    epochs = boundary["epochs"]
    columns = {name: [epoch[name] for epoch in epochs] for name in _AGREEMENT}
    return {"stage": boundary["stage"], "epochs": [e["epoch"] for e in epochs], **columns}
