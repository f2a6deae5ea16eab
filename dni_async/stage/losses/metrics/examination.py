"""A test of the network: its loss and metrics, added up over the batches of test samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from dni_async.config.run_config import RunConfig
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.metrics.catalog import make_metrics
from dni_async.stage.losses.metrics.interface import Metric
from dni_async.stage.losses.score import Score, add_scores

__all__ = ["Examination", "Measured", "make_examination"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a test of num_samples samples came to; of none there is neither a loss nor a metric."""

    num_samples: int = 0
    loss: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)


class Examination:
    """What the head, or whoever has a network's outputs, measures until it is asked for it."""

    def __init__(self, loss: Loss, metrics: Mapping[str, Metric]) -> None:
        self._loss = loss
        self._metrics = metrics
        self._num_samples = 0
        self._scores: list[Score] = []
        self._sums: dict[str, list[float]] = {}

    @torch.no_grad()
    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """A batch of outputs [B, ...] in evaluation mode. Raises ConfigError; see Metric."""
        self._num_samples += len(outputs)
        self._scores.append(self._loss.score(outputs, targets))
        for label, metric in self._metrics.items():
            sums = metric.sums(outputs, targets)
            known = self._sums.get(label, [0.0] * len(sums))
            self._sums[label] = [one + other for one, other in zip(known, sums, strict=True)]

    def take(self) -> Measured:
        """What all batches since the last time came to."""
        loss = add_scores(self._scores).means.get("loss")
        metrics = {label: self._metrics[label].value(sums) for label, sums in self._sums.items()}
        measured = Measured(self._num_samples, loss, metrics)
        self._num_samples, self._scores, self._sums = 0, [], {}
        return measured


def make_examination(config: RunConfig, loss: Loss) -> Examination:
    """That of a run with this loss. Raises ConfigError for a metric that is not there."""
    metrics = make_metrics(config.measured, ignore_index=config.taken.ignore_index)
    return Examination(loss, metrics)
