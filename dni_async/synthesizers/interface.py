"""What every synthesizer does, and what it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from dni_async.config.names import OWN_SYNTHESIZER, SYNTHESIZERS
from dni_async.config.run_config import RunConfig
from dni_async.stage.descent.optimizers import Optimizer
from dni_async.stage.losses.interface import Encoding, Loss

__all__ = ["CopyAbove", "MakeOptimizer", "Order", "Synthesizer"]

MakeOptimizer = Callable[[list[torch.Tensor]], Optimizer]
CopyAbove = Callable[[tuple[int, ...]], tuple[nn.Sequential, bool] | None]
"""A copy of what leads from activations [B, *shape] to the network's outputs, if there is to be one
at this boundary, and whether it is of all that lies above.
"""


class Synthesizer(Protocol):
    """Predicts dL/dh of each of N samples from h [N, *shape] float and its targets [N, ...].

    The targets are what the run's loss compares with: class labels [N] int64, or numbers.
    """

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The tensors that learning changes."""

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient [N, *shape], newly made, in per-sample units.

        May learn from the targets alone.
        """

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor | None:
        """One update towards a returned gradient [N, *shape] in per-sample units.

        Gives the synthetic gradient [N, *shape] of hidden as it was before this update, or None
        where there is none; it is compared with returned and changes nothing. returned stays as it
        is. Where samples are positions, a synthesizer that has ``compare(hidden, targets)``, which
        gives the same and learns nothing, is asked for that instead.
        """


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
        if asked is not None:
            return asked
        return SYNTHESIZERS.get(self.config.synthesizer, OWN_SYNTHESIZER).hidden_layers or 0
