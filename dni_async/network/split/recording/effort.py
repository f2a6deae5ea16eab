"""Guess what a call costs: its weights, at each place that they are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from dni_async.network.split.recording.effects import name_of

__all__ = ["effort_of"]


def effort_of(
    function: Callable[..., Any], weights: Sequence[torch.Tensor], result: object
) -> float:
    """Multiplications of a call of a torch function with weights that gave result.

    A convolution's [O, I, ...] count at each place of its output [B, O, ...], all others at each
    row of what comes out; looking an embedding up is free. Attention's own products, which have
    no weights, are left out: parts are only told apart by this, not timed.
    """
    outputs = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]
    name = name_of(function)
    if not outputs or outputs[0].ndim == 0 or "embedding" in name:
        return 0.0
    shape = outputs[0].shape
    channels = shape[1] if name.startswith("conv") and len(shape) > 1 else shape[-1]
    places = math.prod(shape) / max(1, channels)
    return places * sum(weight.numel() for weight in weights if weight.ndim > 1)
