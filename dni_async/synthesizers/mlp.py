"""Two hidden layers of 1024 units with BatchNorm: the paper's DNI (Jaderberg et al. 2016, 3.1).

Far dearer than the layer it serves (24 times the forward product of a layer of 256 units), so it
is here to reproduce published results, not to be fast.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dni_async.synthesizers.interface import MakeOptimizer

__all__ = ["MlpSynthesizer"]

HIDDEN_UNITS = 1024


class MlpSynthesizer:
    """num_units: D. num_labels: classes to condition on, 0 for none. Last layer starts at zero."""

    def __init__(
        self,
        num_units: int,
        num_labels: int,
        optimize: MakeOptimizer,
        *,
        device: torch.device | None = None,
    ) -> None:
        self._num_labels = num_labels
        self.network = nn.Sequential(
            nn.Linear(num_units + num_labels, HIDDEN_UNITS),
            nn.BatchNorm1d(HIDDEN_UNITS),
            nn.ReLU(),
            nn.Linear(HIDDEN_UNITS, HIDDEN_UNITS),
            nn.BatchNorm1d(HIDDEN_UNITS),
            nn.ReLU(),
            nn.Linear(HIDDEN_UNITS, num_units),
        ).to(device)
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self._optimizer = optimize(self.parameters)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Weights and biases of the three layers and the two normalisations."""
        return list(self.network.parameters())

    @torch.no_grad()
    def predict(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient [B, D] in per-sample units.

        Zero for a batch of one sample, which BatchNorm cannot normalise.
        """
        if len(hidden) == 1:
            return torch.zeros_like(hidden)
        gradient: torch.Tensor = self.network(self._condition(hidden, labels))
        return gradient

    def learn(
        self, hidden: torch.Tensor, labels: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor | None:
        """One update on the mean squared error; a batch of one sample is passed over."""
        if len(hidden) == 1:
            return None
        prediction: torch.Tensor = self.network(self._condition(hidden, labels))
        torch.autograd.backward(functional.mse_loss(prediction, target))
        self._optimizer.update()
        return prediction.detach()

    def _condition(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if not self._num_labels:
            return hidden
        one_hot = functional.one_hot(labels, self._num_labels).to(hidden.dtype)
        return torch.cat([hidden, one_hot], dim=1)
