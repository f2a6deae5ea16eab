"""How near the synthetic gradients of a boundary come to the returned ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = ["Agreement", "Comparison"]

MAX_UNREAD = 256
NOTHING = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Means over num_gradients pairs of s, a synthetic, and r, the returned gradient of a batch.

    cosine: of the angle between them, the whole batch as one vector, from -1 to 1; 0 where s is
    zero. relative_error: |s - r| / |r|. norm_ratio: |s| / |r|. All are 0 where nothing was
    compared. Cosine and norm ratio are independent, and the error follows from them: its square
    is 1 - 2 cosine norm_ratio + norm_ratio^2 for each pair. corrected: of how many pairs, as a
    share, s had what true gradients had taught it to add.
    """

    num_gradients: int = 0
    cosine: float = 0.0
    relative_error: float = 0.0
    norm_ratio: float = 0.0
    corrected: float = 0.0


@dataclass(slots=True)
class _Sums:
    """Of the figures of num_gradients pairs, in the order of Agreement."""

    num_gradients: int = 0
    figures: Sequence[float] = NOTHING

    def add(self, figures: Sequence[float]) -> None:
        self.num_gradients += 1
        self.figures = [a + b for a, b in zip(self.figures, figures, strict=True)]

    def take(self) -> Agreement:
        """Their means; nothing is left."""
        count, sums = self.num_gradients, self.figures
        self.num_gradients, self.figures = 0, NOTHING
        return Agreement(count, *(total / count for total in sums)) if count else Agreement()


class Comparison:
    """Compares pairs of gradients; keeps four numbers of each pair and no gradient.

    A pair costs three passes over s and r and no wait for a device: sums are read when MAX_UNREAD
    pairs have come together, or when the agreement is taken. A pair whose r is zero, or that has
    a norm beyond what float32 holds, tells nothing and is left out.
    """

    def __init__(self) -> None:
        self._unread: list[torch.Tensor] = []
        self._sums, self._recent = _Sums(), _Sums()

    def add(self, synthetic: torch.Tensor, returned: torch.Tensor) -> None:
        """One pair, in the same shape, float32 dtype and units."""
        self.add_values([(synthetic, returned)])

    @torch.no_grad()
    def add_values(
        self,
        pairs: Sequence[tuple[torch.Tensor, torch.Tensor]],
        corrected: Sequence[torch.Tensor] = (),
    ) -> None:
        """The pair of a batch by its values, one or more: they count as one vector.

        corrected: of values that can be corrected, 1 where they were and 0 where not.
        """
        products = []
        for synthetic, returned in pairs:
            s, r = synthetic.reshape(-1), returned.reshape(-1)
            share = sum(corrected, torch.zeros_like(r[0])) / max(1, len(corrected)) / len(pairs)
            products.append(torch.stack((s.dot(s), s.dot(r), r.dot(r), share)))
        self._unread.append(sum(products[1:], products[0]))
        if len(self._unread) >= MAX_UNREAD:
            self._read()

    def take(self) -> Agreement:
        """The agreement of all pairs since the last call."""
        self._read()
        return self._sums.take()

    def take_recent(self) -> Agreement:
        """The agreement of all pairs since the last call of this, which is of shorter spans."""
        self._read()
        return self._recent.take()

    def state(self) -> list[float]:
        """How many pairs there were since the last take, and the sums of their figures."""
        self._read()
        return [self._sums.num_gradients, *self._sums.figures]

    def restore(self, state: Sequence[float]) -> None:
        """Go on from a state."""
        self._unread.clear()
        count, *figures = state
        self._sums, self._recent = _Sums(int(count), figures), _Sums()

    def _read(self) -> None:
        if not self._unread:
            return
        products = torch.stack(self._unread).tolist()
        self._unread.clear()
        for ss, sr, rr, corrected in products:
            if rr > 0 and math.isfinite(ss) and math.isfinite(rr):
                figures = (*_compare(ss, sr, rr), corrected)
                self._sums.add(figures)
                self._recent.add(figures)


def _compare(ss: float, sr: float, rr: float) -> tuple[float, float, float]:
    """Cosine, relative error and norm ratio from the products s.s, s.r and r.r."""
    cosine = sr / math.sqrt(ss * rr) if ss > 0 else 0.0
    error = math.sqrt(max(0.0, ss - 2 * sr + rr) / rr)  # rounding may leave less than nothing
    return max(-1.0, min(1.0, cosine)), error, math.sqrt(ss / rr)
