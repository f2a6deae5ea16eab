"""A local classifier whose own loss, differentiated and corrected, is the synthetic gradient.

p = softmax(h A' + a); synthetic gradient g = (p - y)(A + B). A learns to classify from the labels
of every batch, B (zero at the start) learns from returned gradients. With B = 0 this is the
gradient of the local classifier's cross-entropy; B bends it towards the true one. Predicting at
the loss and differentiating beats predicting the gradient (Czarnecki et al. 2017, Sobolev
training, 1706.04859). Cost: products with 10 columns instead of D.
"""

from __future__ import annotations

import torch

from dni_async.synthesizers.interface import MakeOptimizer

__all__ = ["CriticSynthesizer"]


class CriticSynthesizer:
    """num_units: D, the values of one sample. num_classes: C. Labels are needed always."""

    def __init__(
        self,
        num_units: int,
        num_classes: int,
        optimize: MakeOptimizer,
        *,
        device: torch.device | None = None,
    ) -> None:
        # Drawn as a linear layer's: with zeros the first synthetic gradients would be zero too.
        bound = num_units**-0.5
        self.weight = torch.empty(num_classes, num_units).uniform_(-bound, bound).to(device)
        self.bias = torch.zeros(num_classes, device=device)
        self.correction = torch.zeros(num_classes, num_units, device=device)
        self._one_hot = torch.eye(num_classes, device=device)
        self._classifier_optimizer = optimize([self.weight, self.bias])
        self._correction_optimizer = optimize([self.correction])

    @property
    def parameters(self) -> list[torch.Tensor]:
        """A [C, D], a [C], B [C, D]."""
        return [self.weight, self.bias, self.correction]

    @torch.no_grad()
    def predict(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [B, ...], per-sample units; then A takes one update."""
        flat = hidden.flatten(1)
        error = self._class_error(flat, labels)
        gradient = error.t() @ (self.weight + self.correction)
        self.weight.grad = (error @ flat).div_(len(flat))
        self.bias.grad = error.mean(1)
        self._classifier_optimizer.update()
        return gradient.view(hidden.shape)

    @torch.no_grad()
    def learn(
        self, hidden: torch.Tensor, labels: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """One update of B on the mean squared error to target [B, ...], A held fixed."""
        error = self._class_error(hidden.flatten(1), labels)
        gradient = error.t() @ (self.weight + self.correction)
        residual = gradient - target.flatten(1)
        self.correction.grad = (error @ residual).mul_(2 / target.numel())
        self._correction_optimizer.update()
        return gradient.view(hidden.shape)

    def _class_error(self, flat: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """p - y, transposed [C, B]: the gradient of the local cross-entropy by its logits.

        Classes first: a product with ten columns takes twice as long as one with ten rows.
        """
        logits = torch.addmm(self.bias.unsqueeze(1), self.weight, flat.t())
        return torch.softmax(logits, dim=0).sub_(self._one_hot.index_select(1, labels))
