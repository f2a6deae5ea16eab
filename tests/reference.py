"""A whole line in one process and in order: what every asynchronous run is held against.

The same rules, stages and boundaries as workers have, one batch at a time; a returned gradient
is used before the next batch is taken up, so nothing is stale.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.in_order import Place
from dni_async.boundary import Boundary
from dni_async.decisions.actions import Batch
from dni_async.decisions.rules import Rule
from dni_async.stage import Stage

__all__ = ["ReferenceLine"]


class ReferenceLine:
    """Stages from source to head, with a boundary above each but the last where the rule asks."""

    def __init__(self, stages: Sequence[Stage], boundaries: Sequence[Boundary], rule: Rule) -> None:
        above: list[Boundary | None] = [*boundaries, *[None] * (len(stages) - len(boundaries))]
        self.places = [Place(*pair) for pair in zip(stages, above, strict=True)]
        self._rule = rule
        self._count = 0

    def train(self, x: torch.Tensor, labels: torch.Tensor) -> float:
        """One batch up the line, and all that comes back of it; its mean loss."""
        every = self._rule.anchor_every
        batch = Batch(self._count, "train", every > 0 and self._count % every == 0)
        self._count += 1
        tensor: torch.Tensor | None = x
        for index, place in enumerate(self.places):
            place.begin()
            for action in self._rule.on_batch(
                batch, has_below=index > 0, has_above=index < len(self.places) - 1
            ):
                place.perform(action, tensor, labels, None)
            tensor = place.sent
        for index in range(len(self.places) - 1, 0, -1):
            gradient = self.places[index].returned
            if gradient is None:
                continue
            for action in self._rule.on_returned(batch.batch_id, has_below=index - 1 > 0):
                self.places[index - 1].perform(action, None, labels, gradient)
        for place in self.places:
            place.stage.forget(batch.batch_id)
        loss = self.places[-1].loss
        assert loss is not None
        return loss

    @torch.no_grad()
    def evaluate(self, x: torch.Tensor) -> torch.Tensor:
        """The logits [B, C]."""
        for place in self.places:
            x = place.stage.evaluate(x)
        return x

    @property
    def layers(self) -> list[nn.Sequential]:
        """Of each stage."""
        return [place.stage.layers for place in self.places]
