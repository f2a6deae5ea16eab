"""The losses that can be asked for by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from dni_async.errors import ConfigError
from dni_async.stage.losses.cross_entropy import CrossEntropy
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.squared_error import SquaredError

__all__ = ["LOSSES", "make_loss", "run_loss"]

LOSSES: Final[dict[str, Callable[[tuple[int, ...]], Loss]]] = {
    "cross-entropy": lambda shape: CrossEntropy(math.prod(shape)),
    "mse": SquaredError,
}
"""Each is made of the shape of one sample's outputs."""


def make_loss(name: str, shape: tuple[int, ...]) -> Loss:
    """The loss of that name for outputs of that shape, of one sample. Raises ConfigError."""
    if name not in LOSSES:
        raise ConfigError(f"loss: must be one of {', '.join(LOSSES)}, but is {name!r}")
    return LOSSES[name](shape)


def run_loss(num_classes: int) -> Loss:
    """The loss that runs are trained by today, whatever else they ask for."""
    return make_loss("cross-entropy", (num_classes,))
