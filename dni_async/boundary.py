"""The lower side of a boundary: predict a gradient now, learn when the returned one arrives."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dni_async.agreement import Comparison
from dni_async.synthesizers import Synthesizer

__all__ = ["Boundary"]


class Boundary:
    """Owns the synthesizer of one boundary.

    Gradients on this surface are of the batch's mean loss and have the activation's dtype;
    inside, the synthesizer works in per-sample units and float32. make_synthesizer is called
    once, with the number of units per sample of the first activation.

    comparison: of each gradient learnt from with what the synthesizer, as it then is, gives for
    that activation, before it learns. A synthesizer whose learn gives nothing is not compared.
    """

    def __init__(self, make_synthesizer: Callable[[int], Synthesizer]) -> None:
        self._make = make_synthesizer
        self._made: Synthesizer | None = None
        self.comparison = Comparison()

    def predict(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of the mean loss, shaped as hidden [B, ...]."""
        flat = hidden.flatten(1).float()
        gradient = self._synthesizer(flat).predict(flat, labels)
        return gradient.div_(len(flat)).view_as(hidden).to(hidden.dtype)

    def learn(self, hidden: torch.Tensor, labels: torch.Tensor, returned: torch.Tensor) -> None:
        """One synthesizer update from the returned gradient [B, ...] of the batch's mean loss."""
        flat = hidden.flatten(1).float()
        target = returned.flatten(1).float() * len(returned)
        synthetic = self._synthesizer(flat).learn(flat, labels, target)
        if synthetic is not None:
            self.comparison.add(synthetic, target)

    def _synthesizer(self, flat: torch.Tensor) -> Synthesizer:
        if self._made is None:
            self._made = self._make(flat.shape[1])
        return self._made
