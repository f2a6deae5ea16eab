"""A residual MLP: blocks that add to what passes through them.

Blocks are linear, not convolutional: they take every data set, cost the same wherever they stand,
and so cut into stages of equal work at any depth. Normalisation and ReLU come before each linear
map and nothing after the sum (He et al. 2016, 1603.05027, figure 4e): what passes a boundary is the
sum itself.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from dni_async.network.models.norms import over_units

__all__ = ["ResidualBlock", "residual"]


class ResidualBlock(nn.Module):
    """x + V relu(norm(W relu(norm(x)))), all of width units, with biases."""

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *over_units(norm, width),
            nn.ReLU(),
            nn.Linear(width, width),
            *over_units(norm, width),
            nn.ReLU(),
            nn.Linear(width, width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, width] to [B, width]."""
        outputs: torch.Tensor = x + self.branch(x)
        return outputs


def residual(
    input_shape: tuple[int, ...], width: int, layers: int, num_classes: int, *, norm: str = "none"
) -> nn.Sequential:
    """A linear layer to width, ``layers`` - 2 blocks, and norm, ReLU and a linear layer to classes.

    Takes [B, *input_shape] float, gives logits [B, num_classes]. One layer is linear alone.
    """
    num_features = math.prod(input_shape)
    flatten = [nn.Flatten()] if len(input_shape) > 1 else []
    if layers == 1:
        return nn.Sequential(nn.Sequential(*flatten, nn.Linear(num_features, num_classes)))
    first = nn.Sequential(*flatten, nn.Linear(num_features, width))
    blocks = [ResidualBlock(width, norm) for _ in range(layers - 2)]
    last = nn.Sequential(*over_units(norm, width), nn.ReLU(), nn.Linear(width, num_classes))
    return nn.Sequential(first, *blocks, last)
