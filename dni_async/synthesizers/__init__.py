"""Models that predict the gradient of the loss with respect to an activation.

All work in per-sample units: the gradient of one sample's own loss, B times the gradient of the
batch's mean loss, so that their scale does not depend on the batch size.
"""

from __future__ import annotations

import torch

from dni_async.config import RunConfig
from dni_async.optimizers import Optimizer, make_optimizer
from dni_async.synthesizers.critic import CriticSynthesizer
from dni_async.synthesizers.interface import Synthesizer
from dni_async.synthesizers.linear import LinearSynthesizer
from dni_async.synthesizers.mlp import MlpSynthesizer

__all__ = [
    "CriticSynthesizer",
    "LinearSynthesizer",
    "MlpSynthesizer",
    "Synthesizer",
    "make_synthesizer",
]


def make_synthesizer(
    config: RunConfig, num_units: int, num_classes: int, device: torch.device
) -> Synthesizer:
    """The run's synthesizer for activations of num_units values per sample."""

    def optimize(parameters: list[torch.Tensor]) -> Optimizer:
        return make_optimizer(parameters, config, lr=config.synthesizer_lr)

    if config.synthesizer == "critic":
        return CriticSynthesizer(num_units, num_classes, optimize, device=device)
    num_labels = num_classes if config.label_conditioning else 0
    if config.synthesizer == "linear":
        return LinearSynthesizer(num_units, num_labels, optimize, device=device)
    return MlpSynthesizer(num_units, num_labels, optimize, device=device)
