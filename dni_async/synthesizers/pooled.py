"""Another synthesizer on the mean of each region of an image.

P means over regions, a grid of equal or nearly equal parts of the H x W places; its transpose P'
spreads a region's gradient over its places. The synthetic gradient is S(P h, y) P': what the chain
rule makes of a loss on P h. S learns from the sum of the returned gradient over each region, that
of a shift of the region, and so the spread gradient nearest to the returned one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from dni_async.synthesizers.interface import Synthesizer

__all__ = ["PooledSynthesizer"]


class PooledSynthesizer:
    """For activations [B, C, H, W]; grid: regions in each direction, at most as many as places.

    make: the other synthesizer, given the values of one pooled sample, C * grid * grid or fewer.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        grid: int,
        make: Callable[[int], Synthesizer],
        *,
        device: torch.device | None = None,
    ) -> None:
        channels, height, width = shape
        rows, columns = _membership(height, grid), _membership(width, grid)
        members = torch.einsum("ph,qw->hwpq", rows, columns).reshape(height * width, -1)
        self._sum = members.to(device)
        self._mean = (members / members.sum(0)).to(device)
        self._inner = make(channels * members.shape[1])

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The other's."""
        return self._inner.parameters

    @property
    def is_corrected(self) -> torch.Tensor | None:
        """As the other does."""
        return getattr(self._inner, "is_corrected", None)

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient [B, C, H, W] in per-sample units."""
        pooled = hidden.flatten(2) @ self._mean
        gradient = self._inner.predict(pooled.flatten(1), targets).view_as(pooled)
        return (gradient @ self._mean.t()).view(hidden.shape)

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor | None:
        """One update of the other towards returned [B, C, H, W]."""
        pooled, summed = hidden.flatten(2) @ self._mean, returned.flatten(2) @ self._sum
        gradient = self._inner.learn(pooled.flatten(1), targets, summed.flatten(1))
        if gradient is None:
            return None
        return (gradient.view_as(pooled) @ self._mean.t()).view(hidden.shape)


def _membership(num_places: int, grid: int) -> torch.Tensor:
    """Which of the regions [grid, num_places] along one direction each place belongs to."""
    num_regions = min(grid, num_places)
    region = torch.arange(num_places) * num_regions // num_places
    return (region == torch.arange(num_regions).unsqueeze(1)).float()
