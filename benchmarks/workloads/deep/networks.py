"""Deep networks of the shapes that people train, small enough for two cores.

Each factory gives an nn.Sequential with one child per block, so that it can be cut between any
two. A run names one with its size: ``benchmarks.workloads.deep.networks:resnet_8``.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

__all__ = ["add_examples", "cnn", "mlp", "resnet", "transformer", "vgg"]

CLASSES = 10
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm, added to what passes by; as in ResNet-20.

    He et al. 2016 (1512.03385), section 4.2, but with a 1x1 convolution where the shape changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        return torch.relu(self.branch(x) + self.shortcut(x))


def resnet(width: int) -> nn.Sequential:
    """ResNet-20: a stem, nine blocks of width, 2 width and 4 width channels, a readout.

    Images [B, 3, 32, 32] to logits [B, 10]; eleven layers. The paper's width is 16.
    """
    layers: list[nn.Module] = [_convolution(3, width)]
    inputs = width
    for group, outputs in enumerate((width, 2 * width, 4 * width)):
        for place in range(3):
            layers.append(Block(inputs, outputs, 2 if group and not place else 1))
            inputs = outputs
    readout = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))
    return nn.Sequential(*layers, readout)


def vgg(width: int) -> nn.Sequential:
    """VGG-11 with BatchNorm: eight convolutions of width to 8 width channels and a linear layer.

    Simonyan & Zisserman 2014 (1409.1556), configuration A, with one linear layer as is usual for
    images [B, 3, 32, 32]; to logits [B, 10]. Nine layers; the paper's width is 64.
    """
    layers: list[nn.Module] = []
    inputs = 3
    for factor, pools in ((1, 1), (2, 1), (4, 0), (4, 1), (8, 0), (8, 1), (8, 0), (8, 1)):
        layer = _convolution(inputs, factor * width)
        if pools:
            layer.append(nn.MaxPool2d(2))
        layers.append(layer)
        inputs = factor * width
    return nn.Sequential(*layers, nn.Sequential(nn.Flatten(), nn.Linear(inputs, CLASSES)))


def cnn(width: int) -> nn.Sequential:
    """Three 3x3 convolutions of width, 2 width and 4 width channels, each pooled; and a linear one.

    Images [B, 3, 32, 32] to logits [B, 10]; four layers.
    """
    layers: list[nn.Module] = []
    for inputs, factor in ((3, 1), (width, 2), (2 * width, 4)):
        layers.append(_convolution(inputs, factor * width).append(nn.MaxPool2d(2)))
    return nn.Sequential(*layers, nn.Sequential(nn.Flatten(), nn.Linear(64 * width, CLASSES)))


def mlp(width: int) -> nn.Sequential:
    """Images of digits [B, 784] or [B, 28, 28] through four layers with BatchNorm to [B, 10]."""
    sizes = (784, width, width, width)
    hidden = [
        nn.Sequential(nn.Flatten(), nn.Linear(below, above), nn.BatchNorm1d(above), nn.ReLU())
        for below, above in pairwise(sizes)
    ]
    return nn.Sequential(*hidden, nn.Linear(width, CLASSES))


def transformer(blocks: int) -> nn.Sequential:
    """That of examples/transformer.py with so many blocks: ids [B, T] to logits [B, T, symbols].

    Children: the embedding, the blocks, a LayerNorm and the readout.
    """
    add_examples()
    example = importlib.import_module("transformer")
    return nn.Sequential(
        example.Embedding(),
        *[example.Block() for _ in range(blocks)],
        nn.LayerNorm(example.WIDTH),
        nn.Linear(example.WIDTH, len(example.SYMBOLS)),
    )


def add_examples() -> None:
    """Have the modules of examples/ be found."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


resnet_8, resnet_16 = partial(resnet, 8), partial(resnet, 16)
vgg_8, vgg_16 = partial(vgg, 8), partial(vgg, 16)
cnn_8, cnn_16 = partial(cnn, 8), partial(cnn, 16)
mlp_256 = partial(mlp, 256)
transformer_4, transformer_8 = partial(transformer, 4), partial(transformer, 8)
