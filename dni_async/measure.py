"""How long each layer of a network takes on a real batch."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn
from torch.nn import functional

from dni_async.autograd import pull_back
from dni_async.network import cut_stage, layer_starts

__all__ = ["layer_seconds"]


def layer_seconds(
    network: nn.Sequential, x: torch.Tensor, y: torch.Tensor, *, repeats: int = 5
) -> list[float]:
    """Median seconds of each layer's forward and parameter gradients on batch x [B, ...], y [B]
    or [B, T].

    That is what a decoupled stage computes between anchors; the last layer adds its loss. The
    network is left with gradients and, under normalisation, moved statistics: do not train it.
    """
    num_layers = len(layer_starts(network))
    seconds = []
    hidden = x
    for index in range(num_layers):
        layer = cut_stage(network, index, index + 1)
        layer.train()
        samples = []
        for _ in range(repeats + 1):
            layer.zero_grad()
            began = time.perf_counter()
            outputs = layer(hidden)
            if index == num_layers - 1:
                loss = functional.cross_entropy(outputs.flatten(0, -2), y.flatten())
                loss.backward()  # type: ignore[no-untyped-call]
            else:
                pull_back(outputs, outputs.detach())
            samples.append(time.perf_counter() - began)
        seconds.append(statistics.median(samples[1:]))  # the first one warms up
        hidden = outputs.detach()
    return seconds
