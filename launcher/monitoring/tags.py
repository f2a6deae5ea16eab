"""What the curves of a run are called, in TensorBoard, MLflow and Weights & Biases alike."""

from __future__ import annotations

from typing import Final

from dni_async.launcher.report.curves import CurvePoint
from dni_async.launcher.report.results import EpochResult, RunResult

__all__ = ["of_epoch", "of_point", "updates_at"]

_OF_STAGE: Final = {"busy": "busy", "staleness": "staleness", "occupancy": "window"}
_OF_BOUNDARY: Final = ("cosine", "relative_error", "norm_ratio")


def of_point(run: RunResult, point: CurvePoint) -> dict[str, float]:
    """The values of the updates since the point before, by their tags.

    Loss and samples per second of a network are those of its head, which is the one that has a
    loss.
    """
    values: dict[str, float | None] = {}
    if point.loss is not None:
        values["updates/loss"] = point.loss
        values["updates/samples_per_second"] = point.samples_per_second
        values["updates/learning_rate"] = point.rate
    if run.kind == "decoupled":
        for name, tag in _OF_STAGE.items():
            values[f"updates/{tag}/stage-{point.stage}"] = getattr(point, name)
        for name in _OF_BOUNDARY:
            values[f"updates/{name}/boundary-{point.stage}"] = getattr(point, name)
    return {tag: value for tag, value in values.items() if value is not None}


def of_epoch(run: RunResult, epoch: EpochResult) -> dict[str, float]:
    """Losses, metrics, samples per second, and what each boundary told, by their tags."""
    values: dict[str, float] = {"epoch": epoch.epoch}
    values |= {f"{name}/test": value for name, value in epoch.test_metrics.items()}
    for name, loss in (("loss/train", epoch.train_loss), ("loss/test", epoch.test_loss)):
        if loss is not None:
            values[name] = loss
    if epoch.seconds > 0:
        values["samples_per_second"] = epoch.num_samples / epoch.seconds
    for told in run.boundaries:
        if told.epoch == epoch.epoch:
            values[f"cosine/boundary-{told.stage}"] = told.cosine
            values[f"relative_error/boundary-{told.stage}"] = told.relative_error
            values[f"norm_ratio/boundary-{told.stage}"] = told.norm_ratio
    return values


def updates_at(epoch: int, num_train_batches: int, accumulate: int) -> int:
    """The update that an epoch ends with, where its figures stand."""
    return epoch * num_train_batches // accumulate
