"""A loss whose gradient is autograd's: what all but the plainest have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import cast

import torch

from dni_async.stage.losses.interface import Encoding, Loss
from dni_async.stage.losses.score import Score

__all__ = ["Differentiated"]


class Differentiated(ABC):
    """Samples are the rows of a batch, and weigh alike.

    output_shape: of one sample. Raises what autograd raises.
    """

    def __init__(
        self,
        output_shape: tuple[int, ...],
        encoding: Encoding | None,
        target_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.output_shape = output_shape
        self.readout_size = math.prod(output_shape)
        self.encoding = encoding
        self.target_dtype = target_dtype

    @property
    def of_readout(self) -> Loss:
        """This loss, unless outputs are made of logits."""
        return cast("Loss", self)

    @property
    def has_channels_first(self) -> bool:
        """As images have them, and maps of more dimensions."""
        return len(self.output_shape) > 2

    @abstractmethod
    def mean(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss, a scalar that autograd differentiates by outputs."""

    def sample_dims(self, _targets: torch.Tensor) -> int:
        """The batch's."""
        return 1

    def gradient(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
        """As autograd's, bit for bit; computed in float32."""
        if not self._counts(targets):
            return 0.0, torch.zeros_like(outputs)
        value, gradient = self._differentiate(outputs, targets)
        return value.item(), gradient.to(outputs.dtype)

    def sample_gradients(
        self, outputs: torch.Tensor, targets: torch.Tensor, *, dim: int
    ) -> torch.Tensor:
        """N times autograd's."""
        if not self._counts(targets):
            return torch.zeros_like(outputs)
        rows = outputs if dim == 1 else outputs.t()
        shaped = rows.reshape(len(rows), *self.output_shape)
        gradient = self._differentiate(shaped, targets)[1].reshape(rows.shape) * len(rows)
        return gradient if dim == 1 else gradient.t()

    def weight(self, targets: torch.Tensor) -> float:
        """The samples."""
        return float(len(targets))

    @torch.no_grad()
    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> Score:
        """The loss."""
        weight = self.weight(targets)
        value = self.mean(outputs.float(), targets).item() if self._counts(targets) else 0.0
        return Score(self._num_samples(targets), {"loss": value * weight}, {"loss": weight})

    def _counts(self, _targets: torch.Tensor) -> bool:
        """Whether the batch has a mean."""
        return True

    def _num_samples(self, targets: torch.Tensor) -> int:
        """Those that count in a score."""
        return len(targets)

    def _differentiate(
        self, outputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss and its gradient, float32."""
        with torch.enable_grad():
            leaf = outputs.detach().float().requires_grad_()
            value = self.mean(leaf, targets)
            (gradient,) = torch.autograd.grad(value, leaf)
        return value.detach(), gradient
