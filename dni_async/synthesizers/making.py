"""The one maker of a boundary with the synthesizer that a run names."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import torch

from dni_async.config.extensions import is_extension, make_extension
from dni_async.config.names import OWN_SYNTHESIZER, SYNTHESIZERS, SynthesizerTraits
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.stage.descent.optimizers import Adam, Optimizer
from dni_async.stage.losses.interface import Encoding, Loss
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.conv import ConvSynthesizer
from dni_async.synthesizers.critic import CriticSynthesizer
from dni_async.synthesizers.deep_critic import DeepCriticSynthesizer
from dni_async.synthesizers.interface import MakeOptimizer, Synthesizer
from dni_async.synthesizers.linear import LinearSynthesizer
from dni_async.synthesizers.mlp import MlpSynthesizer
from dni_async.synthesizers.pooled import PooledSynthesizer

__all__ = ["MAKERS", "Order", "make_boundary", "make_synthesizer"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a synthesizer is to be made for; shape: of one sample of the activation."""

    config: RunConfig
    shape: tuple[int, ...]
    loss: Loss
    optimize: MakeOptimizer
    device: torch.device

    @property
    def num_units(self) -> int:
        """The values of one sample."""
        return math.prod(self.shape)

    @property
    def encoding(self) -> Encoding | None:
        """Of the targets, where the run conditions on them."""
        return self.loss.encoding if self.config.label_conditioning else None

    @property
    def hidden_layers(self) -> int:
        """As asked for, else what the synthesizer has by itself."""
        asked = self.config.synthesizer_layers
        return _traits(self.config).hidden_layers or 0 if asked is None else asked


def make_boundary(config: RunConfig, loss: Loss, device: torch.device) -> Boundary:
    """The run's boundary; its synthesizer is made at the first activation."""
    optimizers: list[Optimizer] = []
    return Boundary(
        lambda shape: make_synthesizer(config, shape, loss, device, optimizers),
        loss,
        scale=config.synthesizer_scale,
        optimizers=optimizers,
    )


def make_synthesizer(
    config: RunConfig,
    shape: tuple[int, ...],
    loss: Loss,
    device: torch.device,
    optimizers: list[Optimizer] | None = None,
) -> Synthesizer:
    """The run's synthesizer for activations [N, *shape].

    Trained by Adam whatever the run's optimizer is, as plain descent does not converge for them.
    optimizers: gets each of them, in the order in which they are made.
    A class of the user's own is made as Class(shape, num_labels, optimize, device=device).
    Raises ConfigError when it cannot be made, is no Synthesizer, or needs images and gets none.
    """
    lr = config.synthesizer_lr or _traits(config).lr

    def optimize(parameters: list[torch.Tensor]) -> Optimizer:
        made = Adam(parameters, lr=lr, clip_norm=config.synthesizer_clip)
        if optimizers is not None:
            optimizers.append(made)
        return made

    make = MAKERS.get(config.synthesizer, _own)
    return make(Order(config, shape, loss, optimize, device))


def _own(order: Order) -> Synthesizer:
    name = order.config.synthesizer
    assert is_extension(name)
    num_labels = 0 if order.encoding is None else order.encoding.width
    made = make_extension(
        "synthesizer",
        name,
        ("parameters", "predict", "learn"),
        order.shape,
        num_labels,
        order.optimize,
        device=order.device,
    )
    return cast("Synthesizer", made)


def _critic(order: Order) -> Synthesizer:
    config, shape = order.config, order.shape

    def make(num_units: int) -> Synthesizer:
        if not order.hidden_layers:
            return CriticSynthesizer(num_units, order.loss, order.optimize, device=order.device)
        return DeepCriticSynthesizer(
            num_units,
            order.loss,
            order.optimize,
            layers=order.hidden_layers,
            width=config.synthesizer_width,
            device=order.device,
        )

    if config.synthesizer_pool and len(shape) == 3:
        return PooledSynthesizer(shape, config.synthesizer_pool, make, device=order.device)
    return make(order.num_units)


def _linear(order: Order) -> Synthesizer:
    return LinearSynthesizer(order.num_units, order.encoding, order.optimize, device=order.device)


def _mlp(order: Order) -> Synthesizer:
    return MlpSynthesizer(
        order.num_units,
        order.encoding,
        order.optimize,
        layers=order.hidden_layers,
        width=order.config.synthesizer_width,
        device=order.device,
    )


def _conv(order: Order) -> Synthesizer:
    if len(order.shape) != 3:
        here = ", ".join(["B", *map(str, order.shape)])
        raise ConfigError(
            f"synthesizer: conv needs activations [B, C, H, W], but these are [{here}]"
        )
    return ConvSynthesizer(
        order.shape,
        order.encoding,
        order.optimize,
        layers=order.hidden_layers,
        width=order.config.synthesizer_width,
        device=order.device,
    )


def _traits(config: RunConfig) -> SynthesizerTraits:
    return SYNTHESIZERS.get(config.synthesizer, OWN_SYNTHESIZER)


MAKERS: Final[dict[str, Callable[[Order], Synthesizer]]] = {
    "critic": _critic,
    "linear": _linear,
    "mlp": _mlp,
    "conv": _conv,
}
"""What makes each of config.names.SYNTHESIZERS."""
