"""A critic of dense predictions: one readout for all places of a map.

Outputs [C, H, W] of an activation [c, h, w]: o = R(A h + a), A a 1x1 map from c to C channels and R
the mean over the places that fall on one of the outputs', which repeats where those are finer. The
run's own loss at o gives e = R' dL/do, and g = e (A + B) at each place. So it has c C numbers
whatever the size of the maps. [T, K] of [T, d] likewise, without R. Each place is a sample of
another critic, which has the hidden layers if there are to be any.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch.nn import functional

from dni_async.stage.losses.interface import Loss, Readout
from dni_async.synthesizers.interface import Synthesizer

__all__ = ["ByPlaceSynthesizer"]

_POOLS: Final[dict[int, Callable[..., torch.Tensor]]] = {
    1: functional.adaptive_avg_pool1d,
    2: functional.adaptive_avg_pool2d,
    3: functional.adaptive_avg_pool3d,
}
"""By the dimensions of a map."""


class ByPlaceSynthesizer:
    """For activations [B, c, ...places], or [B, ...places, c] where the loss has channels last.

    shape: of one sample. make: the critic of one place, given the values there and what it reads.
    """

    takes_any_size = True  # it has nothing of the maps' sizes

    def __init__(
        self,
        shape: tuple[int, ...],
        loss: Loss,
        make: Callable[[int, Readout], Synthesizer],
    ) -> None:
        self._is_first = loss.has_channels_first
        self._readout = _Places(loss)
        self._inner = make(shape[0] if self._is_first else shape[-1], self._readout)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The other critic's."""
        return self._inner.parameters

    @property
    def is_corrected(self) -> torch.Tensor | None:
        """As the other critic."""
        return getattr(self._inner, "is_corrected", None)

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [B, ...], per-sample units; then A takes one update."""
        places = self._places(hidden)
        gradient = self._inner.predict(places.flatten(0, -2), targets)
        return self._whole(gradient, places.shape)

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor | None:
        """One update of B towards returned [B, ...]."""
        places = self._places(hidden)
        per_sample = math.prod(places.shape[1:-1])
        wanted = self._places(returned).flatten(0, -2) * per_sample
        gradient = self._inner.learn(places.flatten(0, -2), targets, wanted)
        return None if gradient is None else self._whole(gradient, places.shape)

    def _places(self, tensor: torch.Tensor) -> torch.Tensor:
        """As [B, ...places, c]; what is read out of it has the same places."""
        places = tensor.movedim(1, -1) if self._is_first else tensor
        self._readout.shape = places.shape[:-1]
        return places

    def _whole(self, rows: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """Gradients of places, each for itself, as that of the activation."""
        places = rows.reshape(shape) / math.prod(shape[1:-1])
        return (places.movedim(-1, 1) if self._is_first else places).contiguous()


class _Places:
    """The loss as the critic of one place sees it: a row of outputs for each.

    shape: of the batch's places [B, ...], to be set before use.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self.readout_size = loss.output_shape[0 if loss.has_channels_first else -1]
        self.shape = torch.Size()

    def sample_gradients(
        self, outputs: torch.Tensor, targets: torch.Tensor, *, dim: int
    ) -> torch.Tensor:
        """As many times the gradient of the batch's loss as there are places in it."""
        rows = outputs if dim == 1 else outputs.t()
        maps = rows.reshape(*self.shape, -1)
        if self._loss.has_channels_first:
            gradient = self._of_maps(maps.movedim(-1, 1), targets).movedim(1, -1)
        else:
            gradient = self._loss.gradient(maps, targets)[1]
        gradient = gradient.reshape(rows.shape) * len(rows)
        return gradient if dim == 1 else gradient.t()

    def _of_maps(self, maps: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The gradient of the mean loss by maps [B, C, ...], as fine as the activation."""
        num_dims = len(self._loss.output_shape) - 1
        has_channels = targets.ndim == num_dims + 2
        size = tuple(targets.shape[2 if has_channels else 1 :])
        if len(size) != num_dims:  # a function of the user's own compares with something else
            size = self._loss.output_shape[1:]
        if size == maps.shape[2:]:
            return self._loss.gradient(maps, targets)[1]
        with torch.enable_grad():
            leaf = maps.detach().requires_grad_()
            outputs = _POOLS[num_dims](leaf, size)
        gradient = self._loss.gradient(outputs.detach(), targets)[1]
        return torch.autograd.grad(outputs, leaf, gradient)[0]
