"""Losses of probabilities, or of their logarithms, which a network makes of its logits itself.

A local readout is linear and gives logits. By these losses it would learn to make them ever
larger; so it learns by the loss of logits that comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from dni_async.config.target_form import TargetForm
from dni_async.errors import ConfigError
from dni_async.stage.losses.class_labels import ClassLabels
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.numbers import Function, OfNumbers

__all__ = ["LogProbabilities", "Probabilities"]

_ROUNDING = 1e-3


class LogProbabilities(ClassLabels):
    """functional.nll_loss of log_softmax's outputs; all else as cross-entropy of logits."""

    def __init__(self, form: TargetForm, num_logits: int, **options: Any) -> None:
        super().__init__(form, num_logits, **options)
        self._of_logits = ClassLabels(form, num_logits, **options)

    @property
    def of_readout(self) -> Loss:
        """Cross-entropy, which is nll_loss of log_softmax."""
        return self._of_logits

    def check_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Raises ConfigError for outputs that are no logarithms of probabilities, too."""
        super().check_outputs(outputs, targets)
        _check_range(outputs, -torch.inf, 0.0, "nll", "log_softmax", "cross-entropy")

    def mean(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Over the labels that count, in float32; NaN where none does."""
        log_p = outputs.float()
        if not self._is_dense:
            log_p, targets = log_p.flatten(0, -2), targets.flatten()
        weights = self._weights_on(log_p.device)
        return functional.nll_loss(log_p, targets, weights, ignore_index=self._ignore_index)


class Probabilities(OfNumbers):
    """functional.binary_cross_entropy of sigmoid's outputs. weights: of the numbers of a sample."""

    def __init__(
        self, form: TargetForm, output_shape: tuple[int, ...], weights: torch.Tensor | None = None
    ) -> None:
        super().__init__(_weighed(functional.binary_cross_entropy, weights), form, output_shape)
        of_logits = _weighed(functional.binary_cross_entropy_with_logits, weights)
        self._of_logits = OfNumbers(of_logits, form, output_shape)

    @property
    def of_readout(self) -> Loss:
        """The same with logits."""
        return self._of_logits

    def check_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Raises ConfigError for outputs that are no probabilities, too."""
        super().check_outputs(outputs, targets)
        _check_range(outputs, 0.0, 1.0, "bce", "sigmoid", "bce-with-logits")


def _weighed(function: Callable[..., torch.Tensor], weights: torch.Tensor | None) -> Function:
    def weighed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        given = None if weights is None else weights.to(outputs.device)
        return function(outputs, targets, weight=given)

    return weighed


def _check_range(
    outputs: torch.Tensor, least: float, most: float, name: str, activation: str, other: str
) -> None:
    low, high = outputs.min().item(), outputs.max().item()
    if low < least - _ROUNDING or high > most + _ROUNDING:
        raise ConfigError(
            f"loss: {name} is of what {activation} gives, but the model's outputs go from "
            f"{low:.3g} to {high:.3g}; end the model with {activation}, or take {other}"
        )
