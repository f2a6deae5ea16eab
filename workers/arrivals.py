"""Check what a neighbour sent before it is computed with."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from dni_async.errors import LinkError
from dni_async.messages import Activation, ReturnedGradient

__all__ = ["check_activation", "check_gradient"]


def check_activation(
    stage: int,
    message: Activation,
    tensors: Sequence[torch.Tensor],
    dtypes: Collection[torch.dtype],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The activation [B, ...] or [B, T, ...] in one of dtypes, and the labels of a batch.

    Labels are int64 [B] or [B, T], the activation's leading shape. Raises LinkError if they are
    none.
    """
    if len(tensors) != 2:
        raise LinkError(f"{_where(stage, message)}: {len(tensors)} tensors, needs 2")
    hidden, labels = tensors
    if hidden.dtype not in dtypes or labels.dtype != torch.int64:
        raise LinkError(
            f"{_where(stage, message)}: activation is {hidden.dtype} and labels {labels.dtype}, "
            f"need {' or '.join(sorted(map(str, dtypes)))} and torch.int64"
        )
    is_shaped = labels.ndim in (1, 2) and hidden.ndim > labels.ndim
    if not is_shaped or hidden.shape[: labels.ndim] != labels.shape:
        raise LinkError(
            f"{_where(stage, message)}: activation {list(hidden.shape)} and labels "
            f"{list(labels.shape)} do not belong together"
        )
    return hidden, labels


def check_gradient(
    stage: int,
    message: ReturnedGradient,
    tensors: Sequence[torch.Tensor],
    hidden: torch.Tensor | None,
    dtypes: Collection[torch.dtype],
) -> torch.Tensor:
    """The returned gradient, in one of dtypes.

    Raises LinkError if it does not fit its activation hidden.
    """
    if hidden is None:
        raise LinkError(f"{_where(stage, message)}: a gradient for a batch that is not in hand")
    if len(tensors) != 1 or tensors[0].shape != hidden.shape:
        got = [list(tensor.shape) for tensor in tensors]
        raise LinkError(f"{_where(stage, message)}: gradient {got}, needs [{list(hidden.shape)}]")
    if tensors[0].dtype not in dtypes:
        raise LinkError(f"{_where(stage, message)}: gradient is {tensors[0].dtype}")
    return tensors[0]


def _where(stage: int, message: Activation | ReturnedGradient) -> str:
    return f"stage {stage}, {type(message).__name__} of batch {message.batch_id}"
