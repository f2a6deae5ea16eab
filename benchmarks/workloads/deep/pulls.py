"""Copies that are pulled to what they are copies of: would sending parameters down be worth it?

For ``--watch benchmarks.workloads.deep.pulls:each_batch`` and the like. In one process what lies
above a boundary is at hand as it now is; a run of workers would have to send it down. A copy w of
weights v that lie above moves by w <- (1 - c) w + c v, beside what it learns by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import nn

from dni_async.workers.in_memory import Equipment

__all__ = ["Pulled", "each_batch", "each_period", "refreshed"]

KEPT = 0.995  # of a copy, at each batch
PERIOD = 32  # batches: where anchors' gradients would bring weights along
Pair = tuple[torch.Tensor, torch.Tensor]  # of a copy, and of what it is a copy of


class Pulled:
    """Pulls every copy of a line's boundaries.

    share: what a pull makes of the difference. every: so many batches of the head's there is one.
    """

    def __init__(self, equipments: Sequence[Equipment], share: float, every: int) -> None:
        self._equipments = equipments
        self._drawn = [copy.deepcopy(each.stage.layers) for each in equipments]
        self._share, self._every = share, every
        self._batches = 0
        self._pairs: list[Pair] = []

    @torch.no_grad()
    def __call__(self) -> None:
        """The head has taken a batch up."""
        if not self._pairs:  # by the first batch all copies are made
            self._pairs = list(self._found())
        self._batches += 1
        if self._batches % self._every == 0:
            for copied, live in self._pairs:
                copied.lerp_(live, self._share)

    def _found(self) -> Iterator[Pair]:
        """The weights of every copy, each with that whose drawn value it began with."""
        for stage, equipment in enumerate(self._equipments[:-1]):
            boundary = equipment.boundary
            if boundary is None:
                continue
            for place, shape in boundary.shapes.items():
                network = getattr(boundary.make(shape, place), "network", None)
                for child in network.children() if isinstance(network, nn.Sequential) else ():
                    if any(True for _ in child.parameters()):
                        yield from self._paired(child, stage + 1)

    def _paired(self, child: nn.Module, first: int) -> Iterator[Pair]:
        """A copy's weights with those of the child above, of stage first or a later one."""
        found: list[tuple[float, nn.Module]] = []
        for equipment, drawn in zip(self._equipments[first:], self._drawn[first:], strict=True):
            for before, now in zip(
                drawn.children(), equipment.stage.layers.children(), strict=True
            ):
                distance = _distance(child, before)
                if distance is not None:
                    found.append((distance, now))
        _, nearest = min(found, key=lambda pair: pair[0])
        yield from zip(child.parameters(), nearest.parameters(), strict=True)


def _distance(copied: nn.Module, drawn: nn.Module) -> float | None:
    """How far a copy has moved, if it is one of drawn; None where it cannot be."""
    ours, theirs = copied.state_dict(), drawn.state_dict()
    if [(n, v.shape) for n, v in ours.items()] != [(n, v.shape) for n, v in theirs.items()]:
        return None
    return sum(
        float((ours[name] - theirs[name]).abs().sum()) for name in dict(drawn.named_parameters())
    )


def _pulled(share: float, every: int, equipments: Sequence[Equipment]) -> Callable[[], None]:
    return Pulled(equipments, share, every)


each_batch = partial(_pulled, 1 - KEPT, 1)
each_period = partial(_pulled, 1 - KEPT**PERIOD, PERIOD)
refreshed = partial(_pulled, 1.0, PERIOD)
