"""What each layer of a network takes on a real batch, as a stage of its own would compute it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.network.building import cut_stage, inside_ties, layer_starts
from dni_async.network.partition import LayerCost
from dni_async.network.way_choice import copier
from dni_async.stage.compilation import warm_up
from dni_async.stage.draws import Draws
from dni_async.stage.dtypes import needs_samples
from dni_async.stage.losses.interface import Loss
from dni_async.stage.making import make_stage
from dni_async.stage.stage import Stage
from dni_async.stage.values import Gradient, Hidden, as_gradient, gathered, needing
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.making import make_boundary

__all__ = ["layer_costs"]

WARM_UP, REPEATS = 2, 7  # batches


def layer_costs(
    network: nn.Sequential,
    x: torch.Tensor,
    y: torch.Tensor,
    config: RunConfig,
    loss: Loss,
    *,
    output_shape: tuple[int, ...] | None = None,
) -> list[LayerCost]:
    """Medians over a few updates of each layer on batch x [B, ...] with the targets y of it.

    output_shape: of what the network makes of a sample; None: as the loss has it. A boundary that
    no stage may end at is infinitely dear. The network is trained by that: do not use it for
    anything else.
    """
    count = len(layer_starts(network))
    needs_synthesizer = config.make_rule().needs_synthesizer
    within = set(inside_ties(network))
    costs = []
    hidden = gathered(x)
    for index in range(count):
        layers = cut_stage(network, index, index + 1)
        stage = make_stage(
            layers,
            config,
            loss,
            index=index,
            num_batches=config.accumulate,
            draws=Draws(config.seed, index, layer_starts(layers)),
            whole=network,
        )
        if config.compile:
            warm_up(stage, hidden)
        is_head = index == count - 1
        copy_above = copier(config, loss, network, index + 1, output_shape or loss.output_shape)
        boundary = make_boundary(config, loss, x.device, copy_above)
        layer = _Layer(stage, boundary, config.accumulate, is_head)
        own_s, hidden_above = layer.update_s(hidden, y, to_inputs=False)
        through_s = layer.update_s(hidden, y, to_inputs=True)[0] if index else own_s
        boundary_s = 0.0
        if index in within or not _may_pass(hidden_above, y, config, loss):
            boundary_s = math.inf
        elif needs_synthesizer and not is_head:
            boundary_s = layer.predict_s(hidden_above, y)
        costs.append(LayerCost(own_s, max(0.0, through_s - own_s), boundary_s))
        hidden = hidden_above
    return costs


def _may_pass(hidden: Hidden, targets: torch.Tensor, config: RunConfig, loss: Loss) -> bool:
    """Whether values may go from stage to stage; see needs_samples."""
    leading = targets.shape[: loss.sample_dims(targets)]
    shapes = [value.shape for value in needing(hidden)]
    are_samples = all(len(s) > len(leading) and s[: len(leading)] == leading for s in shapes)
    return are_samples or not needs_samples(config)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer as a stage of its own, which updates with every num_gathered-th batch."""

    stage: Stage
    boundary: Boundary
    num_gathered: int
    is_head: bool

    @property
    def _device(self) -> torch.device:
        return next(self.stage.layers.parameters()).device

    def update_s(
        self, inputs: Hidden, targets: torch.Tensor, *, to_inputs: bool
    ) -> tuple[float, Hidden]:
        """Seconds of an update, and an activation that it begins with."""
        stage, hidden = self.stage, inputs

        def pull_back() -> None:
            nonlocal hidden
            hidden = stage.forward(0, inputs, needs_input_gradient=to_inputs)
            # below the head any will do
            gradient: Gradient = as_gradient(hidden, needing(hidden))
            if self.is_head:
                gradient = stage.loss_gradient(0, targets)[1]
            stage.pull_back(0, gradient, source="measured gradient")
            stage.discard()  # of an update with any gradient the numbers could go wild

        return _median_s(pull_back, self._device) + self._apply_s(), hidden

    def _apply_s(self) -> float:
        """Seconds of the optimizer for a batch, with gradients of zero."""
        parameters = list(self.stage.layers.parameters())
        zeros = [torch.zeros_like(parameter) for parameter in parameters]

        def apply() -> None:
            for _ in range(self.num_gathered):
                for parameter, zero in zip(parameters, zeros, strict=True):
                    parameter.grad = zero
                self.stage.apply()

        return _median_s(apply, self._device) / self.num_gathered

    def predict_s(self, hidden: Hidden, targets: torch.Tensor) -> float:
        """Seconds of a synthetic gradient."""
        return _median_s(lambda: self.boundary.predict(hidden, targets), self._device)


def _median_s(act: Callable[[], object], device: torch.device) -> float:
    """Seconds of act."""
    samples = []
    for _ in range(WARM_UP + REPEATS):
        began = _now(device)
        act()
        samples.append(_now(device) - began)
    return statistics.median(samples[WARM_UP:])


def _now(device: torch.device) -> float:
    """The time when everything begun on device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
