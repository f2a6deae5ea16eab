"""What each layer of a network takes on a real batch, as a stage of its own would compute it."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from dni_async.boundary import Boundary
from dni_async.config import RunConfig
from dni_async.decisions.rules import make_rule
from dni_async.dtypes import AUTOCAST_DTYPES
from dni_async.network import cut_stage, layer_starts
from dni_async.optimizers import make_optimizer
from dni_async.partition import LayerCost
from dni_async.stage import Stage
from dni_async.synthesizers import make_synthesizer

__all__ = ["layer_costs"]

WARM_UP, REPEATS = 2, 7  # batches


def layer_costs(
    network: nn.Sequential, x: torch.Tensor, y: torch.Tensor, config: RunConfig, num_classes: int
) -> list[LayerCost]:
    """Medians over a few updates of each layer on batch x [B, ...], y [B] or [B, T].

    The network is trained by that: do not use it for anything else.
    """
    count = len(layer_starts(network))
    needs_synthesizer = make_rule(config).needs_synthesizer
    costs = []
    hidden = x
    for index in range(count):
        layer = _Layer(cut_stage(network, index, index + 1), config, num_classes, index, count)
        own_s, hidden_above = layer.update_s(hidden, y, to_inputs=False)
        through_s = layer.update_s(hidden, y, to_inputs=True)[0] if index else own_s
        is_last = index == count - 1
        boundary_s = 0.0
        if needs_synthesizer and not is_last:
            boundary_s = layer.predict_s(hidden_above, y)
        costs.append(LayerCost(own_s, max(0.0, through_s - own_s), boundary_s))
        hidden = hidden_above
    return costs


class _Layer:
    def __init__(
        self, layers: nn.Sequential, config: RunConfig, num_classes: int, index: int, count: int
    ) -> None:
        self._is_head = index == count - 1
        self._stage = Stage(
            index,
            layers,
            make_optimizer(layers.parameters(), config),
            autocast=AUTOCAST_DTYPES[config.dtype],
        )
        self._boundary = Boundary(
            lambda shape: make_synthesizer(config, shape, num_classes, _device_of(layers)),
            scale=config.synthesizer_scale,
        )

    def update_s(
        self, inputs: torch.Tensor, labels: torch.Tensor, *, to_inputs: bool
    ) -> tuple[float, torch.Tensor]:
        """Seconds of an update, and the activation that it began with."""
        samples = []
        stage = self._stage
        for batch_id in range(WARM_UP + REPEATS):
            began = _now(inputs.device)
            hidden = stage.forward(batch_id, inputs, needs_input_gradient=to_inputs)
            gradient = hidden  # below the head any will do
            if self._is_head:
                gradient = stage.loss_gradient(batch_id, labels)[1]
            stage.pull_back(batch_id, gradient, source="measured gradient")
            stage.discard()  # of an update with any gradient the numbers could go wild
            samples.append(_now(inputs.device) - began)
        return statistics.median(samples[WARM_UP:]) + self._apply_s(inputs.device), hidden

    def _apply_s(self, device: torch.device) -> float:
        """Seconds of the optimizer, with gradients of zero."""
        samples = []
        for _ in range(WARM_UP + REPEATS):
            for parameter in self._stage.layers.parameters():
                parameter.grad = torch.zeros_like(parameter)
            began = _now(device)
            self._stage.apply()
            samples.append(_now(device) - began)
        return statistics.median(samples[WARM_UP:])

    def predict_s(self, hidden: torch.Tensor, labels: torch.Tensor) -> float:
        """Seconds of a synthetic gradient."""
        samples = []
        for _ in range(WARM_UP + REPEATS):
            began = _now(hidden.device)
            self._boundary.predict(hidden, labels)
            samples.append(_now(hidden.device) - began)
        return statistics.median(samples[WARM_UP:])


def _device_of(layers: nn.Module) -> torch.device:
    return next(layers.parameters()).device


def _now(device: torch.device) -> float:
    """The time when everything begun on device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
