"""Check what a neighbour sent before it is computed with."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch

from dni_async.errors import LinkError
from dni_async.stage.losses.interface import Loss
from dni_async.stage.values import Hidden, Structure, needing, structure_of
from dni_async.wire.messages import Activation, ReturnedGradient

__all__ = ["Parts", "check_activation", "check_gradient"]

Parts = Sequence[torch.Tensor]  # of one value or gradient, as it travels


def check_activation(
    stage: int,
    message: Activation,
    tensors: Sequence[torch.Tensor],
    dtypes: Collection[torch.dtype],
    loss: Loss,
    *,
    are_samples: bool = True,
) -> tuple[list[Parts], Structure | None, torch.Tensor]:
    """The parts of each value of an activation, how the values stand, and the batch's targets.

    A value [B, ...] or [B, T, ...] that needs a gradient is in one of dtypes, and int8 has a second
    part: its scales, float32 [B]. Targets are as loss takes them: what numbers their samples, [B]
    or [B, T], is the leading shape of each such value, but for several that need not be samples.
    Of other values there is nothing to say. Raises LinkError if they are not.
    """
    structure = _structure_of(stage, message)
    num_values = 1 if structure is None else structure.num_values
    needs = (0,) if structure is None else structure.needs
    counts = [_num_parts(dtypes) if place in needs else 1 for place in range(num_values)]
    if len(tensors) != sum(counts) + 1:
        raise LinkError(
            f"{_where(stage, message)}: {len(tensors)} tensors, needs {sum(counts) + 1}"
        )
    values, targets = list(_dealt(tensors, counts)), tensors[-1]
    if targets.dtype != loss.target_dtype or not all(values[at][0].dtype in dtypes for at in needs):
        got = ", ".join(str(values[place][0].dtype) for place in needs)
        raise LinkError(
            f"{_where(stage, message)}: activation is {got} and targets {targets.dtype}, "
            f"need {' or '.join(sorted(map(str, dtypes)))} and {loss.target_dtype}"
        )
    for parts in (values[place] for place in needs):
        if are_samples or structure is None:
            _check_samples(stage, message, parts[0], targets, loss)
        _check_scales(stage, message, parts)
    return values, structure, targets


def check_gradient(
    stage: int,
    message: ReturnedGradient,
    tensors: Sequence[torch.Tensor],
    hidden: Hidden | None,
    dtypes: Collection[torch.dtype],
) -> list[Parts]:
    """The parts of the returned gradient, in one of dtypes, of each value that needs one.

    See check_activation. Raises LinkError if they do not fit their activation hidden.
    """
    if hidden is None:
        raise LinkError(f"{_where(stage, message)}: a gradient for a batch that is not in hand")
    values = needing(hidden)
    count = _num_parts(dtypes)
    found = list(_dealt(tensors, [count] * len(values)))
    is_fit = len(tensors) == count * len(values)
    if not is_fit or any(p[0].shape != v.shape for p, v in zip(found, values, strict=True)):
        got, needed = ([list(tensor.shape) for tensor in each] for each in (tensors, values))
        raise LinkError(f"{_where(stage, message)}: gradient {got}, needs {needed}")
    for parts in found:
        if parts[0].dtype not in dtypes:
            raise LinkError(f"{_where(stage, message)}: gradient is {parts[0].dtype}")
        _check_scales(stage, message, parts)
    return found


def _check_samples(
    stage: int, message: Activation, hidden: torch.Tensor, targets: torch.Tensor, loss: Loss
) -> None:
    """hidden leads with the samples of the targets."""
    num_dims = loss.sample_dims(targets)
    is_shaped = num_dims in (1, 2) and hidden.ndim > num_dims
    if not is_shaped or hidden.shape[:num_dims] != targets.shape[:num_dims]:
        raise LinkError(
            f"{_where(stage, message)}: activation {list(hidden.shape)} and targets "
            f"{list(targets.shape)} do not belong together"
        )


def _structure_of(stage: int, message: Activation) -> Structure | None:
    try:
        return structure_of(message.structure)
    except ValueError as error:
        raise LinkError(f"{_where(stage, message)}: {error}") from None


def _dealt(tensors: Sequence[torch.Tensor], counts: Sequence[int]) -> Iterator[Parts]:
    """So many tensors for each."""
    start = 0
    for count in counts:
        yield tensors[start : start + count]
        start += count


def _num_parts(dtypes: Collection[torch.dtype]) -> int:
    """How many tensors a value that needs a gradient, or a gradient, comes as."""
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
