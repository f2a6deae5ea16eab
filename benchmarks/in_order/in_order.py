"""A whole line in one process and in order: what every asynchronous run is held against.

The same rules, stages and boundaries as workers have, one batch at a time; a returned gradient
is used before the next batch is taken up, so nothing is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from dni_async.decisions.actions import (
    Action,
    Batch,
    CarryBack,
    Forward,
    Learn,
    ReturnGradient,
    Send,
    Update,
)
from dni_async.decisions.rules import Rule
from dni_async.stage.stage import Stage
from dni_async.synthesizers.boundary import Boundary

__all__ = ["Carry", "Place", "ReferenceLine"]

Carry = Callable[[int, bool, torch.Tensor], torch.Tensor]
"""From the boundary, whether a tensor goes up, and the tensor: as it arrives."""


class Place:
    """One stage, what it holds of the batch in hand, and what it has passed on.

    sent, returned: what its last batch sent up and down, None for nothing.
    """

    def __init__(self, stage: Stage, boundary: Boundary | None) -> None:
        self.stage, self.boundary = stage, boundary
        self.sent: torch.Tensor | None = None
        self.returned: torch.Tensor | None = None
        self.loss: float | None = None
        self._hidden: torch.Tensor | None = None
        self._input_gradient: torch.Tensor | None = None

    def begin(self) -> None:
        """A batch is taken up: nothing of it has left the stage."""
        self.sent = self.returned = None

    def perform(
        self,
        action: Action,
        x: torch.Tensor | None,
        labels: torch.Tensor,
        gradient: torch.Tensor | None,
    ) -> None:
        """Carry out action; x: the stage's input, gradient: what came back from above."""
        match action:
            case Forward():
                assert x is not None
                self._hidden = self.stage.forward(
                    action.batch_id,
                    x,
                    needs_input_gradient=action.returns_gradient,
                    keeps_graph=action.keeps_graph,
                    keeps_inputs=action.keeps_inputs,
                )
            case Send():
                self.sent = self._hidden
            case Update(batch_id, source, scale, applies):
                used = self._gradient(batch_id, source, labels, gradient)
                used = used if scale == 1.0 else used * scale
                self._input_gradient = self.stage.pull_back(batch_id, used, source=source)
                self.stage.apply() if applies else self.stage.discard()
            case CarryBack(batch_id):
                assert gradient is not None
                self._input_gradient = self.stage.carry_back(
                    batch_id, gradient, source="returned gradient"
                )
            case ReturnGradient():
                self.returned = self._input_gradient
            case Learn():
                assert self.boundary is not None
                assert self._hidden is not None
                assert gradient is not None
                self.boundary.learn(self._hidden, labels, gradient)
            case _:
                pass  # credits and slots are the links' business

    def _gradient(
        self, batch_id: int, source: str, labels: torch.Tensor, returned: torch.Tensor | None
    ) -> torch.Tensor:
        if source == "loss":
            self.loss, gradient = self.stage.loss_gradient(batch_id, labels)
            return gradient
        if source == "synthetic":
            assert self.boundary is not None
            assert self._hidden is not None
            return self.boundary.predict(self._hidden, labels)
        assert returned is not None
        return returned


class ReferenceLine:
    """Stages from source to head, with a boundary above each but the last where the rule asks.

    carry: what becomes of a tensor on its way over a boundary; None: nothing.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        boundaries: Sequence[Boundary],
        rule: Rule,
        carry: Carry | None = None,
    ) -> None:
        above: list[Boundary | None] = [*boundaries, *[None] * (len(stages) - len(boundaries))]
        self.places = [Place(*pair) for pair in zip(stages, above, strict=True)]
        self._rule = rule
        self._carry = carry
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
            tensor = self._over(index, place.sent, is_up=True)
        for index in range(len(self.places) - 1, 0, -1):
            gradient = self._over(index - 1, self.places[index].returned, is_up=False)
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
        hidden: torch.Tensor | None = x
        for index, place in enumerate(self.places):
            assert hidden is not None
            hidden = self._over(index, place.stage.evaluate(hidden), is_up=True)
        assert hidden is not None
        return hidden

    def _over(
        self, boundary: int, tensor: torch.Tensor | None, *, is_up: bool
    ) -> torch.Tensor | None:
        """What arrives of a tensor; above the head nothing is carried."""
        if tensor is None or self._carry is None or boundary == len(self.places) - 1:
            return tensor
        return self._carry(boundary, is_up, tensor)

    @property
    def layers(self) -> list[nn.Sequential]:
        """Of each stage."""
        return [place.stage.layers for place in self.places]
