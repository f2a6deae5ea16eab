"""Gradients of several batches gathered into one update."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["Accumulated"]


class Accumulated:
    """The mean gradient of num_batches batches, of one fixed list of parameters.

    Updates become rarer by that factor, and with them the staleness of what comes back late
    (accumulated decoupled learning, Zhuang et al. 2020, 2012.03747).
    """

    def __init__(self, num_batches: int) -> None:
        self._num_batches = num_batches
        self._count = 0
        self._sums: dict[int, torch.Tensor] = {}  # by place in the list

    @property
    def gathered(self) -> tuple[int, dict[int, torch.Tensor]]:
        """How many batches' gradients are gathered, and their sums by place in the list."""
        return self._count, self._sums

    def restore(self, count: int, sums: dict[int, torch.Tensor]) -> None:
        """Go on from what was gathered."""
        self._count, self._sums = count, sums

    @torch.no_grad()
    def add(self, parameters: Sequence[torch.Tensor]) -> bool:
        """Take the gradients in ``parameter.grad``, and leave None there.

        True after every num_batches-th call, which leaves their means in ``parameter.grad``.
        """
        for place, parameter in enumerate(parameters):
            if parameter.grad is None:
                continue
            if place in self._sums:
                self._sums[place] += parameter.grad
            else:
                self._sums[place] = parameter.grad.clone()  # that memory is written again
            parameter.grad = None
        self._count += 1
        if self._count < self._num_batches:
            return False
        for place, gradient in self._sums.items():
            parameters[place].grad = gradient.div_(self._num_batches)
        self._sums, self._count = {}, 0
        return True
