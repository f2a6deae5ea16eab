"""Check what a neighbour sent before it is computed with."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from dni_async.errors import LinkError
from dni_async.stage.losses.interface import Loss
from dni_async.wire.messages import Activation, ReturnedGradient

__all__ = ["check_activation", "check_gradient"]


def check_activation(
    stage: int,
    message: Activation,
    tensors: Sequence[torch.Tensor],
    dtypes: Collection[torch.dtype],
    loss: Loss,
) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
    """The parts of the activation [B, ...] or [B, T, ...], and the targets of a batch.

    The activation is in one of dtypes, and int8 has a second part: its scales, float32 [B]. Targets
    are as loss takes them: what numbers their samples, [B] or [B, T], is the activation's leading
    shape. Raises LinkError if they are not.
    """
    num_parts = _num_parts(dtypes)
    if len(tensors) != num_parts + 1:
        raise LinkError(f"{_where(stage, message)}: {len(tensors)} tensors, needs {num_parts + 1}")
    parts, targets = tensors[:-1], tensors[-1]
    hidden = parts[0]
    if hidden.dtype not in dtypes or targets.dtype != loss.target_dtype:
        raise LinkError(
            f"{_where(stage, message)}: activation is {hidden.dtype} and targets {targets.dtype}, "
            f"need {' or '.join(sorted(map(str, dtypes)))} and {loss.target_dtype}"
        )
    num_dims = loss.sample_dims(targets)
    is_shaped = num_dims in (1, 2) and hidden.ndim > num_dims
    if not is_shaped or hidden.shape[:num_dims] != targets.shape[:num_dims]:
        raise LinkError(
            f"{_where(stage, message)}: activation {list(hidden.shape)} and targets "
            f"{list(targets.shape)} do not belong together"
        )
    _check_scales(stage, message, parts)
    return parts, targets


def check_gradient(
    stage: int,
    message: ReturnedGradient,
    tensors: Sequence[torch.Tensor],
    hidden: torch.Tensor | None,
    dtypes: Collection[torch.dtype],
) -> Sequence[torch.Tensor]:
    """The parts of the returned gradient, in one of dtypes; see check_activation.

    Raises LinkError if it does not fit its activation hidden.
    """
    if hidden is None:
        raise LinkError(f"{_where(stage, message)}: a gradient for a batch that is not in hand")
    if len(tensors) != _num_parts(dtypes) or tensors[0].shape != hidden.shape:
        got = [list(tensor.shape) for tensor in tensors]
        raise LinkError(f"{_where(stage, message)}: gradient {got}, needs [{list(hidden.shape)}]")
    if tensors[0].dtype not in dtypes:
        raise LinkError(f"{_where(stage, message)}: gradient is {tensors[0].dtype}")
    _check_scales(stage, message, tensors)
    return tensors


def _num_parts(dtypes: Collection[torch.dtype]) -> int:
    """How many tensors an activation or gradient comes as."""
    return 2 if torch.int8 in dtypes else 1


def _check_scales(
    stage: int, message: Activation | ReturnedGradient, parts: Sequence[torch.Tensor]
) -> None:
    """The second part, if there is one, is a scale for each sample."""
    for scales in parts[1:]:
        if scales.dtype != torch.float32 or scales.shape != parts[0].shape[:1]:
            raise LinkError(
                f"{_where(stage, message)}: scales are {scales.dtype} {list(scales.shape)}, "
                f"need torch.float32 {list(parts[0].shape[:1])}"
            )


def _where(stage: int, message: Activation | ReturnedGradient) -> str:
    return f"stage {stage}, {type(message).__name__} of batch {message.batch_id}"
