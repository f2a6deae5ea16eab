"""Linear layers with ReLU between them."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from dni_async.network.models.norms import over_units

__all__ = ["mlp"]


def mlp(
    input_shape: tuple[int, ...], width: int, layers: int, num_classes: int, *, norm: str = "none"
) -> nn.Sequential:
    """input -> width ... -> width -> classes: ``layers`` blocks, ReLU between them.

    Takes [B, *input_shape] float, gives logits [B, num_classes].
    """
    sizes = [math.prod(input_shape), *[width] * (layers - 1), num_classes]
    blocks: list[nn.Module] = []
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        parts: list[nn.Module] = []
        if index == 0 and len(input_shape) > 1:
            parts.append(nn.Flatten())
        parts.append(nn.Linear(fan_in, fan_out))
        if index < layers - 1:
            parts += [*over_units(norm, fan_out), nn.ReLU()]
        blocks.append(nn.Sequential(*parts))
    return nn.Sequential(*blocks)
