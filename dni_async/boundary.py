"""The lower side of a boundary: predict a gradient now, learn when the returned one arrives."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dni_async.synthesizers import Synthesizer

__all__ = ["Boundary"]


class Boundary:
    """Owns the synthesizer of one boundary.

    Gradients on this surface are of the batch's mean loss and have the activation's dtype;
    inside, the synthesizer works in per-sample units and float32. With labels [B, T], each of the
    B T positions of an activation [B, T, ...] is a sample. make_synthesizer is called once, with
    the number of units per sample of the first activation.
    """

    def __init__(self, make_synthesizer: Callable[[int], Synthesizer]) -> None:
        self._make = make_synthesizer
        self._made: Synthesizer | None = None

    def predict(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of the mean loss, shaped as hidden [B, ...]."""
        flat, labels = _samples(hidden, labels).float(), labels.flatten()
        gradient = self._synthesizer(flat).predict(flat, labels)
        return gradient.div_(len(flat)).view_as(hidden).to(hidden.dtype)

    def learn(self, hidden: torch.Tensor, labels: torch.Tensor, returned: torch.Tensor) -> None:
        """One synthesizer update from the returned gradient [B, ...] of the batch's mean loss."""
        flat = _samples(hidden, labels).float()
        target = _samples(returned, labels).float() * len(flat)
        self._synthesizer(flat).learn(flat, labels.flatten(), target)

    def _synthesizer(self, flat: torch.Tensor) -> Synthesizer:
        if self._made is None:
            self._made = self._make(flat.shape[1])
        return self._made


def _samples(tensor: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """tensor [B, ...] or [B, T, ...] as [samples, units], a sample for each label."""
    return tensor.reshape(labels.numel(), -1)
