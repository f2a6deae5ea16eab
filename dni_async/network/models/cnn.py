"""The convolutional network of Jaderberg et al. 2016 (1608.05343), section 3.1.

A layer is a 5x5 convolution with as many outputs as inputs in each direction, normalisation, ReLU
and a 3x3 pool of every second place: the maximum in the first layer, the mean in the others. The
last layer is linear. The paper's has 128 filters and BatchNorm.
"""

from __future__ import annotations

import math

from torch import nn

from dni_async.errors import ConfigError
from dni_async.network.models.norms import over_channels

__all__ = ["cnn", "image_shape"]

_FEW_CHANNELS = 4  # at most so many stand last in an image of [H, W, C]


def cnn(
    input_shape: tuple[int, ...], width: int, layers: int, num_classes: int, *, norm: str = "none"
) -> nn.Sequential:
    """``layers`` - 1 convolutions of ``width`` filters, then a linear layer.

    Takes [B, *input_shape] float, gives logits [B, num_classes]. Every pool halves height and
    width, rounding up. Raises ConfigError where samples are no images; see image_shape.
    """
    channels, height, rows = image_shape(input_shape)
    blocks: list[nn.Module] = []
    for index in range(layers - 1):
        parts: list[nn.Module] = _reshape(input_shape) if index == 0 else []
        parts += [nn.Conv2d(channels, width, 5, padding=2), *over_channels(norm, width), nn.ReLU()]
        if index == 0:
            parts.append(nn.MaxPool2d(3, stride=2, padding=1))
        else:
            parts.append(nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False))
        blocks.append(nn.Sequential(*parts))
        channels, height, rows = width, (height + 1) // 2, (rows + 1) // 2
    blocks.append(nn.Sequential(nn.Flatten(), nn.Linear(channels * height * rows, num_classes)))
    return nn.Sequential(*blocks)


def image_shape(input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) of one sample, which is [C, H, W], [H, W], or flat and square with C 1 or 3.

    Raises ConfigError for all others.
    """
    said = f"a sample is {list(input_shape)}"
    if len(input_shape) == 3:
        channels, height, width = input_shape
        if width <= _FEW_CHANNELS < min(channels, height):
            raise ConfigError(f"model: cnn takes images as [C, H, W], but {said}: channels last")
        return channels, height, width
    if len(input_shape) == 2:
        return (1, *input_shape)
    if len(input_shape) == 1:
        for channels in (1, 3):
            side = math.isqrt(input_shape[0] // channels)
            if channels * side * side == input_shape[0]:
                return channels, side, side
    raise ConfigError(
        f"model: cnn needs images, [C, H, W], [H, W] or flat squares of 1 or 3 channels, but {said}"
    )


def _reshape(input_shape: tuple[int, ...]) -> list[nn.Module]:
    """What makes [B, C, H, W] of the samples."""
    if len(input_shape) == 3:
        return []
    channels, height, width = image_shape(input_shape)
    if len(input_shape) == 2:
        return [nn.Unflatten(1, (channels, height))]
    return [nn.Unflatten(1, (channels, height, width))]
