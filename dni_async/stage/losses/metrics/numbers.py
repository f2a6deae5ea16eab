"""Metrics of numbers: mean absolute and root mean squared error, R squared, binary accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from dni_async.errors import ConfigError
from dni_async.stage.losses.metrics.interface import Mean

__all__ = ["BinaryAccuracy", "MeanAbsoluteError", "RSquared", "RootMeanSquaredError"]

_ROUNDING = 1e-12  # what is left of a variance of zero, as a part of the squares


class MeanAbsoluteError(Mean):
    """The mean over all numbers of how far an output is from its target."""

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """Distances, and how many."""
        outputs, targets = _alike("mae", outputs, targets)
        return [(outputs - targets).abs().sum().item(), float(targets.numel())]


class RootMeanSquaredError(Mean):
    """The root of the mean square, over all numbers."""

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """Squares, and how many."""
        outputs, targets = _alike("rmse", outputs, targets)
        return [(outputs - targets).square().sum().item(), float(targets.numel())]

    def value(self, sums: Sequence[float]) -> float:
        """The root."""
        return math.sqrt(super().value(sums))


class RSquared:
    """1 less the squared error over that of the targets' own mean, averaged over the numbers of a
    sample. As scikit-learn's r2_score, also of targets that are all alike: 1 or 0.
    """

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """How many samples; then of each number of a sample squared errors, targets, squares."""
        outputs, targets = (each.flatten(1) for each in _alike("r2", outputs, targets, least=2))
        errors = (outputs - targets).square().sum(0)
        sums = torch.cat((errors, targets.sum(0), targets.square().sum(0)))
        return [float(len(targets)), *sums.tolist()]

    def value(self, sums: Sequence[float]) -> float:
        """The average."""
        count, rest = sums[0], sums[1:]
        width = len(rest) // 3
        if not count or not width:
            return math.nan
        columns = zip(rest[:width], rest[width : 2 * width], rest[2 * width :], strict=True)
        return math.fsum(_explained(count, *column) for column in columns) / width


class BinaryAccuracy(Mean):
    """The share of yes-or-no targets (1 or 0) that the sign of their logit tells."""

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """Those that are right, and all."""
        outputs, targets = _alike("binary-accuracy", outputs, targets)
        return [float(((outputs > 0) == (targets > 0.5)).sum().item()), float(targets.numel())]


def _alike(
    name: str, outputs: torch.Tensor, targets: torch.Tensor, *, least: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as float64 of one shape, of so many dimensions at least; [B, 1] goes with [B]."""
    shapes = {_without_ones(outputs.shape), _without_ones(targets.shape)}
    if len(shapes) > 1:
        raise ConfigError(
            f"metrics: {name} compares outputs with targets of the same shape, but outputs are "
            f"{list(outputs.shape)} and targets {list(targets.shape)}"
        )
    (shape,) = shapes
    shape += (1,) * (least - len(shape))
    return outputs.double().reshape(shape), targets.double().reshape(shape)


def _without_ones(shape: torch.Size) -> tuple[int, ...]:
    """Without dimensions of 1 at the end; the first one, of the batch, stays."""
    sizes = tuple(shape)
    while len(sizes) > 1 and sizes[-1] == 1:
        sizes = sizes[:-1]
    return sizes


def _explained(count: float, error: float, total: float, squares: float) -> float:
    variance = squares - total * total / count
    if variance <= _ROUNDING * squares:
        return 1.0 if error == 0 else 0.0
    return 1 - error / variance
