"""A critic with hidden layers: where a linear classifier asks too much of the activation.

An auxiliary network deeper than a classifier, as decoupled greedy learning has it (Belilovsky et
al. 2019, 1901.08164): LayerNorm, hidden layers with GELU, K logits. With f for all that, p =
softmax(f(h)) and J = df/dh the synthetic gradient is g = (p - y)(J + B). f learns to classify from
the labels of every batch, B (zero at the start) learns from returned gradients.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from dni_async.synthesizers.interface import MakeOptimizer

__all__ = ["DeepCriticSynthesizer"]


class DeepCriticSynthesizer:
    """num_units: D, the values of one sample. num_classes: K. Labels are needed always.

    layers: hidden ones, each of width units (None: D).
    """

    def __init__(
        self,
        num_units: int,
        num_classes: int,
        optimize: MakeOptimizer,
        *,
        layers: int = 1,
        width: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        parts: list[nn.Module] = [nn.LayerNorm(num_units)]
        sizes = [num_units, *[width or num_units] * layers]
        for fan_in, fan_out in pairwise(sizes):
            parts += [nn.Linear(fan_in, fan_out), nn.GELU()]
        parts.append(nn.Linear(sizes[-1], num_classes))
        self.network = nn.Sequential(*parts).to(device)
        self.correction = torch.zeros(num_classes, num_units, device=device)
        self._num_classes = num_classes
        self._weights: list[torch.Tensor] = list(self.network.parameters())
        self._classifier_optimizer = optimize(self._weights)
        self._correction_optimizer = optimize([self.correction])

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Weights and biases of f, then B [K, D]."""
        return [*self._weights, self.correction]

    def predict(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [B, ...], per-sample units; then f takes one update."""
        inputs, logits, error = self._classify(hidden, labels)
        gradients = torch.autograd.grad(logits, [inputs, *self._weights], error)
        for weight, gradient in zip(self._weights, gradients[1:], strict=True):
            weight.grad = gradient.div_(len(inputs))
        self._classifier_optimizer.update()
        return (gradients[0] + error @ self.correction).view(hidden.shape)

    def learn(
        self, hidden: torch.Tensor, labels: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """One update of B on the mean squared error to target [B, ...], f held fixed."""
        inputs, logits, error = self._classify(hidden, labels)
        (own,) = torch.autograd.grad(logits, inputs, error)
        gradient = own + error @ self.correction
        residual = gradient - target.flatten(1)
        self.correction.grad = (error.t() @ residual).mul_(2 / target.numel())
        self._correction_optimizer.update()
        return gradient.view(hidden.shape)

    def _classify(
        self, hidden: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The activation as autograd's leaf, logits, and p - y: dL/dlogits of each sample."""
        inputs = hidden.detach().flatten(1).requires_grad_()
        logits: torch.Tensor = self.network(inputs)
        one_hot = functional.one_hot(labels, self._num_classes)
        return inputs, logits, torch.softmax(logits.detach(), dim=1).sub_(one_hot)
