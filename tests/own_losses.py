"""Losses and networks as users write them for other targets than one label a sample.

Named ``tests.own_losses:NAME``.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["dice", "no_gradient", "not_a_number", "per_sample", "raises", "segmenter"]


def dice(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One minus the overlap of a mask [B, 1, H, W] and what is predicted."""
    shares = outputs.sigmoid()
    both, all_of = (shares * targets).sum((1, 2, 3)), (shares + targets).sum((1, 2, 3))
    return (1 - (2 * both + 1) / (all_of + 1)).mean()


def per_sample(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """No scalar."""
    return functional.mse_loss(outputs, targets, reduction="none").mean(1)


def no_gradient(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A scalar that knows nothing of the outputs."""
    return functional.mse_loss(outputs.detach(), targets)


def not_a_number(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The logarithm of what may be negative."""
    return (outputs - targets).log().mean()


def raises(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """As where shapes do not fit."""
    raise ValueError(f"cannot compare {list(outputs.shape)} with {list(targets.shape)}")


def segmenter(num_outputs: int = 3) -> nn.Sequential:
    """Logits [B, 3, 8, 8] of images [B, 1, 8, 8]: down to a quarter of the places and up again."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()),
        nn.Sequential(nn.ConvTranspose2d(8, 8, 2, stride=2), nn.ReLU()),
        nn.Conv2d(8, num_outputs, 1),
    )


def masks() -> nn.Sequential:
    """The same with one output a pixel."""
    return segmenter(1)
