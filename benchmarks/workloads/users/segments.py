"""Pixels that belong to a disk, to a square or to neither, for a U-Net with long skips."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from benchmarks.workloads.users.batches import Samples, work_on
from benchmarks.workloads.users.figures import mean_iou
from benchmarks.workloads.users.row import Asked, Bound, Row, Scale, Work

__all__ = ["ROWS", "UNet"]

SIDE, KINDS, NOISE = 32, 3, 0.4


def _twice(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Two halvings and back, with what was there before joined on: [B, 1, H, W] to [B, K, H, W]."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down1 = _twice(1, width)
        self.down2 = _twice(width, 2 * width)
        self.bottom = _twice(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.joined2 = _twice(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.joined1 = _twice(2 * width, width)
        self.chosen = nn.Conv2d(width, KINDS, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of each pixel."""
        fine = self.down1(image)
        middle = self.down2(self.pool(fine))
        hidden = self.bottom(self.pool(middle))
        hidden = self.joined2(torch.cat([self.up2(hidden), middle], dim=1))
        hidden = self.joined1(torch.cat([self.up1(hidden), fine], dim=1))
        logits: torch.Tensor = self.chosen(hidden)
        return logits


@cache
def _shapes(count: int, seed: int) -> Samples:
    """Images [N, 1, H, W] of a disk and a square in noise, and the kind of each pixel [N, H, W]."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(least: int, most: int) -> torch.Tensor:
        return torch.randint(least, most, (count, 1, 1), generator=generator)

    rows, columns = torch.arange(SIDE)[:, None], torch.arange(SIDE)
    row, column, size = drawn(4, SIDE - 4), drawn(4, SIDE - 4), drawn(3, 8)
    square = ((rows - row).abs() <= size) & ((columns - column).abs() <= size)
    row, column, size = drawn(4, SIDE - 4), drawn(4, SIDE - 4), drawn(4, 9)
    disk = (rows - row) ** 2 + (columns - column) ** 2 <= size**2
    kinds = torch.where(disk, 1, torch.where(square, 2, 0))
    noise = torch.randn(kinds.shape, generator=generator)
    return ((kinds > 0).float() + NOISE * noise)[:, None], kinds


def _work(scale: Scale) -> Work:
    """Rate and epochs are those of a fifth of the training images, held out."""
    num_images, epochs, batch_size = scale.of(600, 80), scale.of(20, 1), 20
    return work_on(
        *(_shapes(num_images, 0), _shapes(scale.of(200, 40), 1), UNet, scale),
        batch_size=batch_size,
        loss=nn.CrossEntropyLoss(),
        figure=mean_iou,
        epochs=epochs,
        lr=2e-3,
        sinks_over=epochs * num_images // batch_size,
        # A linear readout of half an image knows too little: gradients come back, a little late.
        settings={"split": ["down2", "bottom", "up1"], "rule": "fdg", "window": 2},
    )


ROWS = (Row("U-Net, pixel labels, fdg", _work, Asked("IoU", Bound(0.02), in_lockstep=True)),)
