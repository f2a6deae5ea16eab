"""Models that predict the gradient of the loss with respect to an activation.

All work in per-sample units: the gradient of one sample's own loss, B times the gradient of the
batch's mean loss, so that their scale does not depend on the batch size.
"""

from __future__ import annotations

from typing import cast

import torch

from dni_async.config import RunConfig
from dni_async.extensions import is_extension, make_extension
from dni_async.optimizers import Adam, Optimizer
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

# The critic is a linear classifier, which learns ten times as fast as the layers it serves.
DEFAULT_LR = {"critic": 1e-2, "linear": 1e-3, "mlp": 1e-4}
OWN_LR = 1e-3


def make_synthesizer(
    config: RunConfig, num_units: int, num_classes: int, device: torch.device
) -> Synthesizer:
    """The run's synthesizer for activations of num_units values per sample.

    Trained by Adam whatever the run's optimizer is, as plain descent does not converge for them.
    A class of the user's own is made as Class(num_units, num_labels, optimize, device=device).
    Raises ConfigError when it cannot be made, or is no Synthesizer.
    """
    lr = config.synthesizer_lr or DEFAULT_LR.get(config.synthesizer, OWN_LR)

    def optimize(parameters: list[torch.Tensor]) -> Optimizer:
        return Adam(parameters, lr=lr)

    if config.synthesizer == "critic":
        return CriticSynthesizer(num_units, num_classes, optimize, device=device)
    num_labels = num_classes if config.label_conditioning else 0
    if is_extension(config.synthesizer):
        made = make_extension(
            "synthesizer",
            config.synthesizer,
            ("parameters", "predict", "learn"),
            num_units,
            num_labels,
            optimize,
            device=device,
        )
        return cast("Synthesizer", made)
    if config.synthesizer == "linear":
        return LinearSynthesizer(num_units, num_labels, optimize, device=device)
    return MlpSynthesizer(num_units, num_labels, optimize, device=device)
