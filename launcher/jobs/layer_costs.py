"""What each layer of a network takes on a real batch, as a stage of its own would compute it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.network.building import cut_stage, layer_starts
from dni_async.network.partition import LayerCost
from dni_async.stage.dtypes import AUTOCAST_DTYPES
from dni_async.stage.optimizers import make_optimizer
from dni_async.stage.stage import Stage
from dni_async.synthesizers import make_synthesizer
from dni_async.synthesizers.boundary import Boundary

__all__ = ["layer_costs"]

WARM_UP, REPEATS = 2, 7  # batches


def layer_costs(
    network: nn.Sequential, x: torch.Tensor, y: torch.Tensor, config: RunConfig, num_classes: int
) -> list[LayerCost]:
    """Medians over a few updates of each layer on batch x [B, ...], y [B] or [B, T].

    The network is trained by that: do not use it for anything else.
    """
    count = len(layer_starts(network))
    needs_synthesizer = config.make_rule().needs_synthesizer
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
    """A layer as a stage of its own."""

    def __init__(
        self, layers: nn.Sequential, config: RunConfig, num_classes: int, index: int, count: int
    ) -> None:
        self._is_head = index == count - 1
        self._device = next(layers.parameters()).device
        self._stage = Stage(
            index,
            layers,
            make_optimizer(layers.parameters(), config),
            autocast=AUTOCAST_DTYPES[config.dtype],
        )
        self._boundary = Boundary(
            lambda shape: make_synthesizer(config, shape, num_classes, self._device),
            scale=config.synthesizer_scale,
        )

    def update_s(
        self, inputs: torch.Tensor, labels: torch.Tensor, *, to_inputs: bool
    ) -> tuple[float, torch.Tensor]:
        """Seconds of an update, and an activation that it begins with."""
        stage, hidden = self._stage, inputs

        def pull_back() -> None:
            nonlocal hidden
            hidden = stage.forward(0, inputs, needs_input_gradient=to_inputs)
            gradient = hidden  # below the head any will do
            if self._is_head:
                gradient = stage.loss_gradient(0, labels)[1]
            stage.pull_back(0, gradient, source="measured gradient")
            stage.discard()  # of an update with any gradient the numbers could go wild

        return _median_s(pull_back, self._device) + self._apply_s(), hidden

    def _apply_s(self) -> float:
        """Seconds of the optimizer, with gradients of zero."""

        def give_gradients() -> None:
            for parameter in self._stage.layers.parameters():
                parameter.grad = torch.zeros_like(parameter)

        return _median_s(self._stage.apply, self._device, before=give_gradients)

    def predict_s(self, hidden: torch.Tensor, labels: torch.Tensor) -> float:
        """Seconds of a synthetic gradient."""
        return _median_s(lambda: self._boundary.predict(hidden, labels), self._device)


def _median_s(
    act: Callable[[], object], device: torch.device, *, before: Callable[[], None] | None = None
) -> float:
    """Seconds of act; before is called before each, and not counted."""
    samples = []
    for _ in range(WARM_UP + REPEATS):
        if before is not None:
            before()
        began = _now(device)
        act()
        samples.append(_now(device) - began)
    return statistics.median(samples[WARM_UP:])


def _now(device: torch.device) -> float:
    """The time when everything begun on device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
