"""A metric that is a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from dni_async.errors import ConfigError
from dni_async.stage.losses.metrics.interface import Mean

__all__ = ["OwnMetric"]


class OwnMetric(Mean):
    """The mean over samples of what a function gives for a batch, which is such a mean itself.

    function: of (outputs, targets), on the CPU, outputs as float32; both are its own to write
    into. It gives a number, or a tensor or array that holds one.
    """

    def __init__(self, label: str, function: Callable[..., object]) -> None:
        self._label = label
        self._function = function

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """What it gives times the samples, and how many these are.

        Raises ConfigError where it raises, or gives no number.
        """
        try:
            given = self._function(
                outputs.detach().float().cpu().clone(), targets.detach().cpu().clone()
            )
        except Exception as error:
            raise ConfigError(
                f"metrics: {self._label} raised {type(error).__name__}: {error} (outputs "
                f"{list(outputs.shape)}, targets {targets.dtype} {list(targets.shape)})"
            ) from error
        return [_number(self._label, given) * len(outputs), float(len(outputs))]


def _number(label: str, given: object) -> float:
    try:
        number: Any = given.item() if hasattr(given, "item") else given
        return float(number)
    except (TypeError, ValueError, RuntimeError):
        shape = f" {list(given.shape)}" if isinstance(given, torch.Tensor) else ""
        raise ConfigError(
            f"metrics: {label} must give a number, the mean over the samples, but gave a "
            f"{type(given).__name__}{shape}"
        ) from None
