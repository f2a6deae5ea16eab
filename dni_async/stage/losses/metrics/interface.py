"""What every metric does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch

__all__ = ["Mean", "Metric"]


class Mean:
    """The value of a metric whose sums are a total, and how many it is the total of."""

    def value(self, sums: Sequence[float]) -> float:
        """The mean; NaN of none."""
        total, count = sums
        return total / count if count else math.nan


class Metric(Protocol):
    """Sums that add up over batches, and the value that they come to.

    So a value is of all test samples together, also where it is no mean over them.
    """

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """Of one batch, as many numbers for each; neither tensor may be written into.

        outputs: of the head, in evaluation mode. Raises ConfigError where the two do not go
        together, or with the metric.
        """

    def value(self, sums: Sequence[float]) -> float:
        """What added sums come to; NaN where there is nothing to measure."""
