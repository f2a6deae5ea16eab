"""Forward passes with the weights that are foretold for when the batch's gradient comes.

Between a forward and its late gradient a stage makes d updates. Its last update says where they
lead: W + d (W - V), V the weights before it. The idea is SpecTrain's (Chen et al. 2018, 1809.02839)
and FTPipe's, which go along the momentum of SGD or Adam; the last step of the weights is known with
every optimizer and schedule. Cost: a copy of the weights, and four passes over them a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

__all__ = ["Foretold"]


class Foretold:
    """Parameters, and what they were before their last update."""

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._weights = [each.detach() for each in parameters if each.requires_grad]
        self._before: list[torch.Tensor] | None = None
        self._is_used = False

    @torch.no_grad()
    def note(self) -> None:
        """An update comes now; of no account where no forward has been late yet."""
        if not self._is_used:
            return
        if self._before is None:
            self._before = [weight.clone() for weight in self._weights]
        else:
            torch._foreach_copy_(self._before, self._weights)

    @contextmanager
    def ahead(self, num_updates: float) -> Iterator[None]:
        """The weights are those of so many updates on, and then again what they are, bit for bit.

        Before the first update there is nothing to tell by, and they stay.
        """
        self._is_used |= num_updates > 0 and bool(self._weights)
        if not num_updates or self._before is None:
            yield
            return
        present = [weight.clone() for weight in self._weights]
        with torch.no_grad():
            torch._foreach_lerp_(self._weights, self._before, -num_updates)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._weights, present)
