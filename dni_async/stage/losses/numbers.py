"""Losses that compare each number of the outputs with one of the targets."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dni_async.config.target_form import TargetForm
from dni_async.errors import ConfigError
from dni_async.stage.losses.differentiated import Differentiated
from dni_async.stage.losses.encodings import encoding_of_numbers

__all__ = ["OfNumbers"]

Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class OfNumbers(Differentiated):
    """The mean of function over all numbers, of outputs and targets of one shape.

    Targets [B] and outputs [B, 1] belong together too, and the other way round.
    """

    def __init__(self, function: Function, form: TargetForm, output_shape: tuple[int, ...]) -> None:
        dtype = torch.int64 if form.dtype == "int64" else torch.float32
        super().__init__(output_shape, encoding_of_numbers(form.shape), dtype)
        self._function = function

    def check_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Raises ConfigError unless outputs have the targets' shape; torch broadcasts."""
        if _without_ones(outputs.shape) != _without_ones(targets.shape):
            raise ConfigError(
                f"model: the output is {list(outputs.shape)}, needs {list(targets.shape)}, the "
                "shape of the targets"
            )

    def mean(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Over all numbers, in float32."""
        numbers = targets if targets.is_floating_point() else targets.float()
        if numbers.shape != outputs.shape:  # which torch would broadcast
            numbers = numbers.reshape(outputs.shape)
        return self._function(outputs.float(), numbers)


def _without_ones(shape: torch.Size) -> list[int]:
    """The batch's size, and the others up to the ones at the end."""
    sizes = list(shape)
    while len(sizes) > 1 and sizes[-1] == 1:
        sizes.pop()
    return sizes
