"""What every loss does, and how a synthesizer sees what the loss compares with."""

from __future__ import annotations

from typing import Protocol

import torch

from dni_async.stage.losses.score import Score

__all__ = ["Encoding", "Loss", "Readout"]


class Encoding(Protocol):
    """The targets of N samples as rows of W numbers, codes [N, W].

    select and collect are its two products with a table; they may be done without making codes.
    """

    @property
    def width(self) -> int:
        """W."""

    def codes(self, targets: torch.Tensor) -> torch.Tensor:
        """[N, W] float32."""

    def select(self, table: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """codes @ table, for table [W, D]: [N, D]. Differentiable by table."""

    def collect(self, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """codes.T @ rows, for rows [N, D]: [W, D]."""


class Readout(Protocol):
    """What a critic needs to know of a loss."""

    @property
    def readout_size(self) -> int:
        """K, the numbers that it reads out of one sample."""

    def sample_gradients(
        self, outputs: torch.Tensor, targets: torch.Tensor, *, dim: int
    ) -> torch.Tensor:
        """N times the gradient of the mean loss of these N samples, newly made, in their layout.

        Where all weigh alike it is each one's own. outputs float32: [N, K] with dim 1, or [K, N]
        with dim 0; targets: [N, ...].
        """


class Loss(Readout, Protocol):
    """The loss of a batch is the mean over its samples of what each one's outputs cost.

    A sample is a row of a batch [B, ...]; for class labels of positions, [B, T], it is each of
    the B T positions, and outputs and activations lead with both dimensions. Samples may weigh
    differently, or nothing; one loss of a user's own may be no mean at all.
    """

    @property
    def of_readout(self) -> Loss:
        """The loss by which a local readout learns, which is linear; mostly this one."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one sample's outputs, as the loss takes them."""

    @property
    def has_channels_first(self) -> bool:
        """Where outputs are of places: whether those of one place lie along the first dimension.

        So [C, H, W], else [T, K].
        """

    @property
    def encoding(self) -> Encoding | None:
        """How a synthesizer sees the targets; None where they are too many for it."""

    @property
    def target_dtype(self) -> torch.dtype:
        """What targets are given in."""

    def sample_dims(self, targets: torch.Tensor) -> int:
        """How many leading dimensions of targets number the samples: 1 for [B, ...]."""

    def check_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Raises ConfigError where a network's outputs do not fit its targets."""

    def mean(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss, a scalar that autograd differentiates by outputs."""

    def gradient(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
        """The mean loss and its gradient, in the outputs' shape and dtype.

        Both are 0 where nothing in the batch counts.
        """

    def weight(self, targets: torch.Tensor) -> float:
        """What the mean loss of a batch weighs among others of an epoch."""

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> Score:
        """How well outputs fit targets."""
