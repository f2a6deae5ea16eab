"""Train a network of your own on tensors of your own: python examples/own_data.py

Two moons of points, told apart by a network with two layers of your own making. Every stage
learns in a process of its own; the trained network comes back.
"""

from __future__ import annotations

import math

import torch
from torch import nn

import dni_async


class Residual(nn.Module):
    """x + relu(W x): any module of yours may stand in the line."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.inner(x))


def moons(num_samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points [N, 2] on two half circles, and on which one each lies [N]."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (num_samples,), generator=generator)
    angle = math.pi * (torch.rand(num_samples, generator=generator) + y)
    points = torch.stack([torch.cos(angle) + y, torch.sin(angle) + 0.5 * y], dim=1)
    return points + 0.1 * torch.randn(points.shape, generator=generator), y


if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 32), Residual(32), Residual(32), nn.Linear(32, 2))
    x_train, y_train = moons(2000, seed=0)
    x_test, y_test = moons(500, seed=1)

    result = dni_async.train(
        model, (x_train, y_train, x_test, y_test), epochs=10, batch_size=50, lr=0.003
    )

    print(result)
    with torch.no_grad():
        right = (result.model(x_test).argmax(1) == y_test).sum().item()
    print(f"{right} of {len(y_test)} test points are told right")
