"""A loss that the user has written: any function of outputs and targets that gives a scalar."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dni_async.config.target_form import TargetForm
from dni_async.errors import ConfigError
from dni_async.stage.losses.differentiated import Differentiated
from dni_async.stage.losses.encodings import OneHot, Shares, encoding_of_numbers
from dni_async.stage.losses.interface import Encoding

__all__ = ["OwnLoss"]


class OwnLoss(Differentiated):
    """function(outputs, targets), of a whole batch, float32 outputs; a module moves to the device.

    Raises ConfigError for a module with parameters, which nobody would train.
    """

    def __init__(self, function: Any, form: TargetForm, output_shape: tuple[int, ...]) -> None:
        dtype = torch.int64 if form.dtype == "int64" else torch.float32
        super().__init__(output_shape, _encoding(form), dtype)
        if isinstance(function, nn.Module) and next(function.parameters(), None) is not None:
            raise ConfigError(
                f"loss: {type(function).__name__} has parameters, but no stage would train them; "
                "put them into the model's last child"
            )
        self._function = function
        self._form = form

    def check_outputs(self, _outputs: torch.Tensor, _targets: torch.Tensor) -> None:
        """Whether they fit, the function knows."""

    def mean(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """What the function gives."""
        if isinstance(self._function, nn.Module):
            self._function.to(outputs.device)
        value: torch.Tensor = self._function(outputs.float(), targets)
        return value

    def _num_samples(self, targets: torch.Tensor) -> int:
        if not self._form.num_classes:
            return len(targets)
        ignored = self._form.ignored
        return targets.numel() if ignored is None else int((targets != ignored).sum())


def _encoding(form: TargetForm) -> Encoding | None:
    if not form.num_classes:
        return encoding_of_numbers(form.shape)
    return (Shares if form.shape else OneHot)(form.num_classes, form.ignored)
