"""Networks for the digits that are no chain: each is split, and several values pass between."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["FACTORIES", "dense", "images"]

WIDTH = 24


class Dense(nn.Module):
    """Every layer takes what all before it made; dropout as a module and as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.third = nn.Linear(2 * WIDTH, WIDTH)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(3 * WIDTH, 10)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """A mapping, whose logits count."""
        one = torch.relu(self.first(x))
        two = functional.dropout(torch.relu(self.second(one)), 0.1, self.training)
        three = self.drop(torch.relu(self.third(torch.cat([one, two], dim=1))))
        return {"hidden": three, "logits": self.last(torch.cat([one, two, three], dim=1))}


class Images(nn.Module):
    """A small U-Net with BatchNorm over [B, 1, 8, 8], and a readout of its average."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.low = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.Sequential(nn.Conv2d(12, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True))
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(8 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Sizes are taken from shapes."""
        high = self.down(x.view(x.shape[0], 1, 8, 8))
        low = self.low(functional.max_pool2d(high, 2))
        low = functional.interpolate(low, size=high.shape[-2:])
        x = functional.adaptive_avg_pool2d(self.up(torch.cat([low, high], dim=1)), 2)
        return self.out(self.drop(x.flatten(1)))


def dense() -> nn.Module:
    """Skips over several parts."""
    return Dense()


def images() -> nn.Module:
    """Two values between two parts."""
    return Images()


FACTORIES = {"dense": ["second", "third", "last"], "images": ["low", "up", "out"]}
"""Those that train, with where each is split."""
