"""One stage's actions in one process, without links: for measuring, and to hold runs against."""

from __future__ import annotations

import torch

from dni_async.boundary import Boundary
from dni_async.decisions.actions import (
    Action,
    CarryBack,
    Forward,
    Learn,
    ReturnGradient,
    Send,
    Update,
)
from dni_async.stage import Stage

__all__ = ["Place"]


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
