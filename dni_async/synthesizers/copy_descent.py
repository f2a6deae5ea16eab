"""How a copy of layers learns: as those layers do, by the run's optimizer, rate and schedule.

A copy of all that lies above a boundary begins with the weights that are there, sees the same
activations and targets in the same order, and differs from it by nothing but its updates. Where
those are the run's own, it stays equal to what it is a copy of, and its gradient is the true one.
With a rate of its own that does not fall with the run's it is a classifier beside the head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

from dni_async.config.names import SYNTHESIZERS
from dni_async.config.run_config import RunConfig
from dni_async.stage.descent.making import MAKERS, make_optimizer
from dni_async.stage.descent.muon import tables_of
from dni_async.stage.descent.optimizers import Adam, Memory, Optimizer, clip_gradients
from dni_async.stage.descent.rates import RateFactor, make_rate_factor

__all__ = ["Paced", "copy_optimizer"]

ADAMS: Final = ("adam", "adamw")


class Paced:
    """An optimizer whose rate follows a schedule, and whose gradients are clipped.

    rate_factor: multiplies the optimizer's rate, by update counted from 0; None leaves it.
    clip_norm: the most that the norm of all gradients together may be. num_batches: that the
    schedule counts as one update, as where a run gathers the gradients of several.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parameters: list[torch.Tensor],
        *,
        rate_factor: RateFactor | None = None,
        clip_norm: float | None = None,
        num_batches: int = 1,
    ) -> None:
        self._optimizer, self._parameters = optimizer, parameters
        self.lr, self._rate_factor = optimizer.lr, rate_factor
        self._clip_norm, self._num_batches = clip_norm, num_batches
        self._count = torch.zeros((), dtype=torch.int64)

    def update(self) -> None:
        """One update, at the rate that the schedule has for it."""
        if self._clip_norm is not None:
            clip_gradients(self._parameters, self._clip_norm)
        factor = 1.0
        if self._rate_factor is not None:
            factor = self._rate_factor(int(self._count) // self._num_batches)
        self._optimizer.lr = self.lr * factor
        self._optimizer.update()
        self._count.add_(1)

    def tensors(self) -> list[dict[str, torch.Tensor]]:
        """What the optimizer remembers of each parameter, then the count of updates."""
        return [*self._optimizer.tensors(), {"paced": self._count}]

    def memory(self) -> Memory:
        """All else that the optimizer remembers."""
        return self._optimizer.memory()

    def remember(self, memory: Memory) -> None:
        """Have the optimizer go on from what memory gave."""
        self._optimizer.remember(memory)


def copy_optimizer(
    config: RunConfig,
    network: nn.Module,
    parameters: Sequence[torch.Tensor],
    num_updates: int,
    *,
    is_whole: bool,
) -> Paced:
    """What trains the trainable parameters of a copy, network, for num_updates batches of a run.

    is_whole: it is a copy of all that lies above. Then it is the run's optimizer, at the run's rate
    unless synthesizers have one. A part has other updates to make, and where the optimizer is of
    the user's own, it may ask for the parameters of a whole network: there it is Adam, at the rate
    that copies have by themselves, or the run's Adam's if that is higher.
    """
    rate, held = config.synthesizer_lr, list(parameters)
    made: Optimizer
    if is_whole and config.optimizer in MAKERS:
        names = {id(parameter): name for name, parameter in network.named_parameters()}
        named = [(names[id(parameter)], parameter) for parameter in held]
        asked = config if rate is None else dataclasses.replace(config, lr=rate)
        made = make_optimizer(named, asked, tables=tables_of(network))
    else:
        of_run = config.lr if config.optimizer in ADAMS else None
        made = Adam(held, lr=rate or max(SYNTHESIZERS["copy"].lr, of_run or 0.0))
    return Paced(
        made,
        held,
        rate_factor=make_rate_factor(config, num_updates),
        clip_norm=config.synthesizer_clip or (config.clip_norm if is_whole else None),
        num_batches=config.accumulate,
    )
