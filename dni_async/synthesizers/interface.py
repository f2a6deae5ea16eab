"""What every synthesizer does, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from dni_async.stage.descent.optimizers import Optimizer

__all__ = ["MakeOptimizer", "Synthesizer"]

MakeOptimizer = Callable[[list[torch.Tensor]], Optimizer]


class Synthesizer(Protocol):
    """Predicts dL/dh of each of N samples from h [N, *shape] float and its targets [N, ...].

    The targets are what the run's loss compares with: class labels [N] int64, or numbers.
    """

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The tensors that learning changes."""

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient [N, *shape], newly made, in per-sample units.

        May learn from the targets alone.
        """

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor | None:
        """One update towards a returned gradient [N, *shape] in per-sample units.

        Gives the synthetic gradient [N, *shape] of hidden as it was before this update, or None
        where there is none; it is compared with returned and changes nothing. returned stays as it
        is.
        """
