"""The lower side of a boundary: predict a gradient now, learn when the returned one arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from dni_async.stage.descent.optimizers import Optimizer
from dni_async.stage.losses.interface import Loss
from dni_async.synthesizers.agreement import Comparison
from dni_async.synthesizers.interface import Synthesizer

__all__ = ["Boundary"]


class Boundary:
    """Owns the synthesizer of one boundary.

    Gradients on this surface are of the batch's mean loss and have the activation's dtype;
    inside, the synthesizer works in per-sample units and float32. The loss says what a sample is:
    a row, or each of B T positions of an activation [B, T, ...]. make_synthesizer is called once,
    with the shape of one sample of the first activation. scale: multiplies what it predicts.

    comparison: of each gradient learnt from with what the synthesizer, as it then is, gives for
    that activation, before it learns and unscaled. A synthesizer whose learn gives nothing is not
    compared. optimizers: those by which the synthesizer learns, there once it is made.
    """

    def __init__(
        self,
        make_synthesizer: Callable[[tuple[int, ...]], Synthesizer],
        loss: Loss,
        *,
        scale: float = 1.0,
        optimizers: Sequence[Optimizer] = (),
    ) -> None:
        self._make = make_synthesizer
        self._loss = loss
        self._scale = scale
        self._optimizers = optimizers
        self.shape: tuple[int, ...] | None = None
        self._made: Synthesizer | None = None
        self.comparison = Comparison()

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of the mean loss, shaped as hidden [B, ...]."""
        num_dims = self._loss.sample_dims(targets)
        samples, rows = _samples(hidden, num_dims).float(), _samples(targets, num_dims)
        gradient = self._synthesizer(samples).predict(samples, rows)
        return gradient.mul_(self._scale / len(samples)).view_as(hidden).to(hidden.dtype)

    def learn(self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor) -> None:
        """One synthesizer update from the returned gradient [B, ...] of the batch's mean loss."""
        num_dims = self._loss.sample_dims(targets)
        samples, rows = _samples(hidden, num_dims).float(), _samples(targets, num_dims)
        wanted = _samples(returned, num_dims).float() * len(samples)
        synthetic = self._synthesizer(samples).learn(samples, rows, wanted)
        if synthetic is not None:
            self.comparison.add(synthetic, wanted)

    def make(self, shape: tuple[int, ...]) -> Synthesizer:
        """The synthesizer, made for samples of that shape if there is none yet."""
        if self._made is None:
            self._made, self.shape = self._make(shape), shape
        return self._made

    def tensors(self) -> dict[str, torch.Tensor]:
        """The synthesizer's parameters and what its optimizers remember, by number; not copied.

        Nothing until it is made.
        """
        if self._made is None:
            return {}
        found = {f"parameter/{i}": tensor for i, tensor in enumerate(self._made.parameters)}
        for number, optimizer in enumerate(self._optimizers):
            for i, remembered in enumerate(optimizer.tensors()):
                found |= {f"{kind}-{number}/{i}": tensor for kind, tensor in remembered.items()}
        return found

    def _synthesizer(self, samples: torch.Tensor) -> Synthesizer:
        return self.make(tuple(samples.shape[1:]))


def _samples(tensor: torch.Tensor, num_dims: int) -> torch.Tensor:
    """tensor [B, ...] or [B, T, ...] with all its samples in its first dimension."""
    return tensor.flatten(0, num_dims - 1)
