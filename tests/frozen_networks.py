"""Networks of which only a part trains, to be named ``tests.frozen_networks:NAME``."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

__all__ = ["adapters", "backbone", "head"]


def _linear(num_outputs: int = 16, *, trains: bool) -> nn.Sequential:
    layer = nn.Sequential(nn.Linear(64 if trains is None else 16, num_outputs), nn.ReLU())
    return layer.requires_grad_(trains)


def backbone() -> nn.Sequential:
    """Three frozen layers, one with statistics, beneath a head that trains."""
    first = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU()).requires_grad_(False)
    frozen = [_linear(trains=False) for _ in range(2)]
    return nn.Sequential(
        OrderedDict(first=first, second=frozen[0], third=frozen[1], head=nn.Linear(16, 10))
    )


def head() -> nn.Sequential:
    """A frozen layer in the middle, and a frozen one above all that trains."""
    return nn.Sequential(
        nn.Sequential(nn.Linear(64, 16), nn.ReLU()),
        _linear(trains=False),
        _linear(trains=True),
        nn.Linear(16, 10).requires_grad_(False),
    )


class _Adapted(nn.Module):
    """A frozen linear layer beside two thin ones that train (LoRA, Hu et al. 2021)."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.base = nn.Linear(num_inputs, num_outputs).requires_grad_(False)
        self.down = nn.Linear(num_inputs, 2, bias=False)
        self.up = nn.Linear(2, num_outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both."""
        outputs: torch.Tensor = self.base(x) + self.up(self.down(x))
        return outputs


def adapters() -> nn.Sequential:
    """Each layer frozen but for its adapter, a norm frozen altogether."""
    return nn.Sequential(
        _Adapted(64, 16), nn.LayerNorm(16).requires_grad_(False), nn.ReLU(),
        _Adapted(16, 16), nn.ReLU(),
        _Adapted(16, 16), nn.ReLU(),
        _Adapted(16, 10),
    )  # fmt: skip
