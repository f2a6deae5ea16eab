"""What every synthesizer does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from dni_async.stage.optimizers import Optimizer

__all__ = ["MakeOptimizer", "Synthesizer"]

MakeOptimizer = Callable[[list[torch.Tensor]], Optimizer]


class Synthesizer(Protocol):
    """Predicts dL/dh of each sample from h [B, *shape] float and labels y [B] int64."""

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The tensors that learning changes."""

    def predict(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient [B, *shape], newly made, in per-sample units.

        May learn from the labels alone.
        """

    def learn(
        self, hidden: torch.Tensor, labels: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor | None:
        """One update towards target [B, *shape], a returned gradient in per-sample units.

        Gives the synthetic gradient [B, *shape] of hidden as it was before this update, or None
        where there is none; it is compared with target and changes nothing. target stays as it is.
        """
