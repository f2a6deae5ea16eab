"""A linear map of activation and targets: the paper's cDNI (Jaderberg et al. 2016, section 3.1).

g(h, y) = h W + c(y) V + b, all zero at the start, with c(y) the code of the targets (of a label its
one-hot, so that c(y) V is a row of V); without it the plain DNI.
Cost per boundary and batch: one D x D product to predict, two to learn.
"""

from __future__ import annotations

import torch

from dni_async.stage.losses.interface import Encoding
from dni_async.synthesizers.interface import MakeOptimizer, Order, Synthesizer

__all__ = ["LinearSynthesizer", "make_linear"]


class LinearSynthesizer:
    """num_units: D, the values of one sample. encoding: of the targets, None to ignore them."""

    def __init__(
        self,
        num_units: int,
        encoding: Encoding | None,
        optimize: MakeOptimizer,
        *,
        device: torch.device | None = None,
    ) -> None:
        self.weight = torch.zeros(num_units, num_units, device=device)
        self.bias = torch.zeros(num_units, device=device)
        width = 0 if encoding is None else encoding.width
        self.code_weight = torch.zeros(width, num_units, device=device)
        self._encoding = encoding
        self._optimizer = optimize(self.parameters)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """W [D, D], b [D], and V, a row for each number of a code, if conditioned."""
        conditioned = [] if self._encoding is None else [self.code_weight]
        return [self.weight, self.bias, *conditioned]

    @torch.no_grad()
    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [N, ...] in per-sample units."""
        gradient = torch.addmm(self.bias, hidden.flatten(1), self.weight)
        if self._encoding is not None:
            gradient += self._encoding.select(self.code_weight, targets)
        return gradient.view(hidden.shape)

    @torch.no_grad()
    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor:
        """One update on the mean squared error, its gradient written out."""
        gradient = self.predict(hidden, targets)
        error = (gradient - returned).mul_(2 / returned.numel()).flatten(1)
        self.weight.grad = hidden.flatten(1).t() @ error
        self.bias.grad = error.sum(0)
        if self._encoding is not None:
            self.code_weight.grad = self._encoding.collect(targets, error)
        self._optimizer.update()
        return gradient


def make_linear(order: Order) -> Synthesizer:
    """The one that order asks for."""
    return LinearSynthesizer(order.num_units, order.encoding, order.optimize, device=order.device)
