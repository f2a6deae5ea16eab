"""A linear map of activation and label: the paper's cDNI (Jaderberg et al. 2016, section 3.1).

g(h, y) = h W + V[y] + b, all zero at the start; without labels V is left out (the plain DNI).
Cost per boundary and batch: one D x D product to predict, two to learn.
"""

from __future__ import annotations

import torch

from dni_async.synthesizers.interface import MakeOptimizer

__all__ = ["LinearSynthesizer"]


class LinearSynthesizer:
    """num_units: D, the values of one sample. num_labels: classes to condition on, 0 for none."""

    def __init__(
        self,
        num_units: int,
        num_labels: int,
        optimize: MakeOptimizer,
        *,
        device: torch.device | None = None,
    ) -> None:
        self.weight = torch.zeros(num_units, num_units, device=device)
        self.bias = torch.zeros(num_units, device=device)
        self.label_weight = torch.zeros(num_labels, num_units, device=device)
        self._optimizer = optimize(self.parameters)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """W [D, D], b [D], and V [C, D] if conditioned."""
        conditioned = [self.label_weight] if len(self.label_weight) else []
        return [self.weight, self.bias, *conditioned]

    @torch.no_grad()
    def predict(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [B, ...] in per-sample units."""
        gradient = torch.addmm(self.bias, hidden.flatten(1), self.weight)
        if len(self.label_weight):
            gradient += self.label_weight.index_select(0, labels)
        return gradient.view(hidden.shape)

    @torch.no_grad()
    def learn(
        self, hidden: torch.Tensor, labels: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """One update on the mean squared error, its gradient written out."""
        gradient = self.predict(hidden, labels)
        error = (gradient - target).mul_(2 / target.numel()).flatten(1)
        self.weight.grad = hidden.flatten(1).t() @ error
        self.bias.grad = error.sum(0)
        if len(self.label_weight):
            self.label_weight.grad = torch.zeros_like(self.label_weight).index_add_(
                0, labels, error
            )
        self._optimizer.update()
        return gradient
