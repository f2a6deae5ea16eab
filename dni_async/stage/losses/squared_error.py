"""Mean squared error of outputs and targets of the same shape."""

from __future__ import annotations

import math

import torch

from dni_async.errors import ConfigError
from dni_async.stage.losses.score import Score

__all__ = ["Numbers", "SquaredError"]

_MEAN = 1  # torch's number for reduction="mean"


class Numbers:
    """Targets [N, ...] of width numbers each, as they are."""

    def __init__(self, width: int) -> None:
        self.width = width

    def codes(self, targets: torch.Tensor) -> torch.Tensor:
        """[N, W]."""
        return targets.flatten(1).float()

    def select(self, table: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The product with table [W, D]: [N, D]."""
        return self.codes(targets) @ table

    def collect(self, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The product of the transposed codes with rows [N, D]: [W, D]."""
        return self.codes(targets).t() @ rows


class SquaredError:
    """A sample's loss is the mean over its numbers.

    shape: of one sample's outputs and targets. What leads it in targets numbers the samples: with
    shape (K,) targets [B, T, K] are of B T samples, with (T, K) of B.
    """

    target_dtype = torch.float32

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self.readout_size = math.prod(shape)
        self.encoding = Numbers(self.readout_size)

    def sample_dims(self, targets: torch.Tensor) -> int:
        """Those before a sample's own shape."""
        return targets.ndim - len(self._shape)

    def check_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Raises ConfigError unless outputs have the targets' shape; torch broadcasts."""
        if outputs.shape != targets.shape:
            raise ConfigError(
                f"model: the output is {list(outputs.shape)}, needs {list(targets.shape)}"
            )

    @torch.no_grad()
    def gradient(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
        """As autograd's, bit for bit; computed in float32."""
        aten = torch.ops.aten
        numbers = outputs.float()
        loss = aten.mse_loss(numbers, targets, _MEAN)
        gradient = aten.mse_loss_backward(torch.ones_like(loss), numbers, targets, _MEAN)
        return loss.item(), gradient.to(outputs.dtype)

    def sample_gradients(
        self, outputs: torch.Tensor, targets: torch.Tensor, *, dim: int
    ) -> torch.Tensor:
        """Twice the difference, over the numbers of a sample."""
        codes = self.encoding.codes(targets)
        return (outputs - (codes if dim == 1 else codes.t())).mul_(2 / self.readout_size)

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> Score:
        """The loss alone."""
        num_samples = targets.numel() // self.readout_size
        squares = (outputs.float() - targets).square().sum().item()
        return Score(num_samples, {"loss": squares / self.readout_size})
