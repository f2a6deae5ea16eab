"""Graphs that are pulled back after other updates, through the weights of that time.

Autograd keeps what a forward saw: inputs of layers, masks, and weights. The weights are the
parameters themselves, so an update in between is an error. Here it is kept which they are, and they
are given back as they are when the gradient comes. That is a backward through the present weights
with the activations of the forward: a replay would compute those anew, for another product.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from dni_async.stage.values import address_of

__all__ = ["late_graph"]

_CAST = "ToCopyBackward0"  # autograd's name of a conversion, as autocast makes of weights


@dataclass(frozen=True, slots=True)
class _Weight:
    """A parameter, or a part of it, in the dtype and form in which a layer used it."""

    parameter: torch.Tensor
    dtype: torch.dtype
    size: torch.Size
    stride: tuple[int, ...]
    offset: int

    def now(self) -> torch.Tensor:
        """As it is at present."""
        present = self.parameter.detach().to(self.dtype)
        return present.as_strided(self.size, self.stride, self.offset)


@dataclass(frozen=True, slots=True)
class _Saved:
    """A tensor, and how often it had been written to."""

    tensor: torch.Tensor
    version: int


def late_graph(layers: nn.Module, changing: Collection[int] = ()) -> AbstractContextManager[None]:
    """Around a forward of layers, whose graph is to be pulled back whatever updates come first.

    Each parameter, also a part of one, or one converted to another dtype by autocast, is given back
    as it is then; all else as it was. What a layer computes of its weights before it uses them
    (their product with a mask, a norm) is kept as computed. changing: addresses of memory that
    forwards write to unseen, of which copies are kept. The backward raises RuntimeError where
    anything else has been written to since, as autograd does.
    """
    return saved_tensors_hooks(_keeper(layers, changing), _given_back)


def _keeper(layers: nn.Module, changing: Collection[int]) -> Callable[[torch.Tensor], Any]:
    owners: dict[int, torch.Tensor] = {
        address: parameter
        for parameter in layers.parameters()
        if (address := address_of(parameter)) is not None
    }

    def keep(tensor: torch.Tensor) -> _Weight | _Saved:
        address = address_of(tensor)
        weight = owners.get(address) if address is not None else None
        if weight is None:
            weight = _converted(tensor, owners)
        if weight is not None:
            offset = int(tensor.storage_offset())
            return _Weight(weight, tensor.dtype, tensor.size(), tensor.stride(), offset)
        kept = tensor.detach()  # its own graph is held by whoever made it
        if address in changing:
            kept = kept.clone()
        return _Saved(kept, kept._version)

    return keep


def _converted(tensor: torch.Tensor, owners: Mapping[int, torch.Tensor]) -> torch.Tensor | None:
    """The parameter that tensor, or what it is a part of, was converted from; None: none."""
    node = (tensor if tensor._base is None else tensor._base).grad_fn
    if node is None or node.name() != _CAST:
        return None
    found = getattr(node.next_functions[0][0], "variable", None)
    return found if any(found is owner for owner in owners.values()) else None


def _given_back(kept: _Weight | _Saved) -> torch.Tensor:
    if isinstance(kept, _Weight):
        return kept.now()
    if kept.tensor._version != kept.version:
        raise RuntimeError(
            f"a tensor of shape {list(kept.tensor.shape)} that a late gradient needs has been "
            "modified by an inplace operation since its forward"
        )
    return kept.tensor
