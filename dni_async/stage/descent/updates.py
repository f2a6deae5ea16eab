"""How the gradients in a stage's parameters become updates: gathered, clipped, at what rate."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from dni_async.stage.descent.accumulation import Accumulated
from dni_async.stage.descent.foretold import Foretold
from dni_async.stage.descent.optimizers import Memory, Optimizer, clip_gradients
from dni_async.stage.descent.rates import RateFactor

__all__ = ["Updates"]


class Updates:
    """version counts the updates made, scheduled those that the rate's schedule counts.

    rate_factor: multiplies the optimizer's rate, by update. accumulate: how many batches' mean
    gradient makes one update. clip_norm: the most that the norm of all the layers' gradients
    together may be (torch.nn.utils.clip_grad_norm_). foretells: how many
    updates a batch comes to, for ahead; with 0 it does nothing.
    """

    def __init__(
        self,
        layers: nn.Module,
        optimizer: Optimizer,
        *,
        rate_factor: RateFactor | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        foretells: float = 0.0,
    ) -> None:
        self.named_parameters = list(layers.named_parameters())
        self._parameters = [parameter for _, parameter in self.named_parameters]
        self._optimizer = optimizer
        self._rate, self._rate_factor = optimizer.lr, rate_factor
        self._clip_norm = clip_norm
        self.accumulated = Accumulated(accumulate) if accumulate > 1 else None
        self._foretold = Foretold(self._parameters) if foretells else None
        self._foretells = foretells
        self.version = 0
        self.scheduled = 0

    def ahead(self, num_batches: int) -> AbstractContextManager[None]:
        """Around a forward with the weights that are foretold for so many batches on."""
        if self._foretold is None:
            return nullcontext()
        return self._foretold.ahead(num_batches * self._foretells)

    def apply(self, *, rate: float = 1.0, is_scheduled: bool = True) -> None:
        """Update the parameters with the gradients in them, or gather those.

        rate: multiplies the learning rate this once; of gathered gradients, the last one's counts.
        is_scheduled: whether the schedule moves on.
        """
        if self.accumulated is not None and not self.accumulated.add(self._parameters):
            return
        if self._clip_norm is not None:
            clip_gradients(self._parameters, self._clip_norm)
        factor = rate
        if self._rate_factor is not None:
            factor *= self._rate_factor(self.scheduled)
        self._optimizer.lr = self._rate * factor
        if self._foretold is not None:
            self._foretold.note()
        self._optimizer.update()
        self.version += 1
        self.scheduled += is_scheduled

    @property
    def rate(self) -> float:
        """The learning rate of the last update; before the first, the one that it begins from."""
        return self._optimizer.lr

    def discard(self) -> None:
        """Make no update: drop the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """What the optimizer remembers, as ``KIND/NAME`` of its parameter; not copied."""
        found: dict[str, torch.Tensor] = {}
        remembered = self._optimizer.tensors()
        for (name, _), of_parameter in zip(self.named_parameters, remembered, strict=False):
            found |= {f"{kind}/{name}": tensor for kind, tensor in of_parameter.items()}
        return found

    def memory(self) -> Memory:
        """What the optimizer remembers beside these tensors. Raises ConfigError."""
        return self._optimizer.memory()

    def remember(self, memory: Memory) -> None:
        """Have the optimizer go on from what memory gave."""
        self._optimizer.remember(memory)
