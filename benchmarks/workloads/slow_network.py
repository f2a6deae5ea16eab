"""A network of the user's own, as far as a run can tell, with one stage that is slow."""

from __future__ import annotations

import os
import time

import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.network.building import build_network

__all__ = ["SETTING", "make"]

SETTING = "BENCH_SLOW"
"""In the environment: layers, width, units of a sample, the slow layer, its seconds a batch."""


class Slow(nn.Module):
    """A layer whose every training batch takes some time more, as on a slower device."""

    def __init__(self, layer: nn.Module, seconds: float) -> None:
        super().__init__()
        self.layer = layer
        self.seconds = seconds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the layer gives."""
        if self.training:
            time.sleep(self.seconds)
        outputs: torch.Tensor = self.layer(x)
        return outputs


def make() -> nn.Sequential:
    """The MLP with BatchNorm, ten classes."""
    layers, width, num_features, slow, seconds = os.environ[SETTING].split(",")
    config = RunConfig(layers=int(layers), width=int(width), norm="batch")
    network = build_network(config, (int(num_features),), 10)
    blocks = list(network)
    if float(seconds) > 0:
        blocks[int(slow)] = Slow(blocks[int(slow)], float(seconds))
    return nn.Sequential(*blocks)
