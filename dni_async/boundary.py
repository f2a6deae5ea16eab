"""The lower side of a boundary: predict a gradient now, learn when the returned one arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dni_async.synthesizers import Synthesizer

__all__ = ["Boundary"]


@dataclass(frozen=True, slots=True)
class _Awaited:
    hidden: torch.Tensor  # [B, D]
    labels: torch.Tensor  # [B]


class Boundary:
    """Owns the synthesizer of one boundary and what it still waits to learn from.

    Gradients on this surface are of the batch's mean loss; inside, the synthesizer works in
    per-sample units. make_synthesizer is called once, with the number of units per sample of the
    first activation.
    """

    def __init__(self, make_synthesizer: Callable[[int], Synthesizer]) -> None:
        self._make = make_synthesizer
        self._made: Synthesizer | None = None
        self._awaited: dict[int, _Awaited] = {}

    def predict(self, batch_id: int, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of the mean loss, shaped as hidden [B, ...]; remembers both."""
        flat = hidden.flatten(1)
        if self._made is None:
            self._made = self._make(flat.shape[1])
        self._awaited[batch_id] = _Awaited(flat, labels)
        return self._made.predict(flat, labels).div_(len(flat)).view_as(hidden)

    def learn(self, batch_id: int, returned: torch.Tensor) -> None:
        """One synthesizer update from the returned gradient [B, ...] of that batch's mean loss.

        Raises KeyError for a batch that is not awaited.
        """
        awaited = self._awaited.pop(batch_id)
        assert self._made is not None  # predict came first, or the batch were not awaited
        target = returned.flatten(1) * len(returned)
        self._made.learn(awaited.hidden, awaited.labels, target)
