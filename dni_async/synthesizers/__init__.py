"""Models that predict the gradient of the loss with respect to an activation.

All work in per-sample units: the gradient of one sample's own loss, B times the gradient of the
batch's mean loss, so that their scale does not depend on the batch size.
"""

from __future__ import annotations

import math
from typing import cast

import torch

from dni_async.config.extensions import is_extension, make_extension
from dni_async.config.names import OWN_SYNTHESIZER, SYNTHESIZERS
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError
from dni_async.stage.optimizers import Adam, Optimizer
from dni_async.synthesizers.conv import ConvSynthesizer
from dni_async.synthesizers.critic import CriticSynthesizer
from dni_async.synthesizers.deep_critic import DeepCriticSynthesizer
from dni_async.synthesizers.interface import MakeOptimizer, Synthesizer
from dni_async.synthesizers.linear import LinearSynthesizer
from dni_async.synthesizers.mlp import MlpSynthesizer
from dni_async.synthesizers.pooled import PooledSynthesizer

__all__ = [
    "ConvSynthesizer",
    "CriticSynthesizer",
    "DeepCriticSynthesizer",
    "LinearSynthesizer",
    "MlpSynthesizer",
    "PooledSynthesizer",
    "Synthesizer",
    "make_synthesizer",
]


def make_synthesizer(
    config: RunConfig,
    shape: tuple[int, ...],
    num_classes: int,
    device: torch.device,
    optimizers: list[Optimizer] | None = None,
) -> Synthesizer:
    """The run's synthesizer for activations [B, *shape].

    Trained by Adam whatever the run's optimizer is, as plain descent does not converge for them.
    optimizers: gets each of them, in the order in which they are made.
    A class of the user's own is made as Class(shape, num_labels, optimize, device=device).
    Raises ConfigError when it cannot be made, is no Synthesizer, or needs images and gets none.
    """
    traits = SYNTHESIZERS.get(config.synthesizer, OWN_SYNTHESIZER)
    lr = config.synthesizer_lr or traits.lr

    def optimize(parameters: list[torch.Tensor]) -> Optimizer:
        made = Adam(parameters, lr=lr, clip_norm=config.synthesizer_clip)
        if optimizers is not None:
            optimizers.append(made)
        return made

    if config.synthesizer == "critic":
        return _critic(config, shape, num_classes, optimize, device)
    num_labels = num_classes if config.label_conditioning else 0
    if is_extension(config.synthesizer):
        named = ("synthesizer", config.synthesizer)
        members = ("parameters", "predict", "learn")
        made = make_extension(*named, members, shape, num_labels, optimize, device=device)
        return cast("Synthesizer", made)
    if config.synthesizer == "linear":
        return LinearSynthesizer(math.prod(shape), num_labels, optimize, device=device)
    layers = config.synthesizer_layers
    if layers is None:
        layers = traits.hidden_layers or 0
    width = config.synthesizer_width
    if config.synthesizer == "mlp":
        return MlpSynthesizer(
            math.prod(shape), num_labels, optimize, layers=layers, width=width, device=device
        )
    if len(shape) != 3:
        here = ", ".join(["B", *map(str, shape)])
        raise ConfigError(
            f"synthesizer: conv needs activations [B, C, H, W], but these are [{here}]"
        )
    return ConvSynthesizer(shape, num_labels, optimize, layers=layers, width=width, device=device)


def _critic(
    config: RunConfig,
    shape: tuple[int, ...],
    num_classes: int,
    optimize: MakeOptimizer,
    device: torch.device,
) -> Synthesizer:
    layers = config.synthesizer_layers

    def make(num_units: int) -> Synthesizer:
        if not layers:
            return CriticSynthesizer(num_units, num_classes, optimize, device=device)
        width = config.synthesizer_width
        return DeepCriticSynthesizer(
            num_units, num_classes, optimize, layers=layers, width=width, device=device
        )

    if config.synthesizer_pool and len(shape) == 3:
        return PooledSynthesizer(shape, config.synthesizer_pool, make, device=device)
    return make(math.prod(shape))
