"""What a trained network makes of samples, as an evaluation takes them through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dni_async.errors import DataError
from dni_async.network.split.whole import call_whole
from dni_async.stage.dtypes import AUTOCAST_DTYPES

__all__ = ["outputs_of"]


@torch.no_grad()
def outputs_of(
    network: nn.Module,
    x: torch.Tensor | NDArray[Any],
    *,
    batch_size: int,
    dtype: str,
    holds_ids: bool,
) -> Any:
    """The outputs, float32 [N, ...], of network in evaluation mode for x [N, ...features].

    An array for an array, for a tensor a tensor where x is. dtype: the setting of the run that
    network comes from; holds_ids: its samples were ids, not numbers. Beside x and the outputs, no
    more is held than a batch needs. Raises DataError for an x that the network does not take.
    """
    _check_kind(x)
    device = next(network.parameters()).device
    cast, taken = AUTOCAST_DTYPES[dtype], torch.int64 if holds_ids else torch.float32
    outputs: torch.Tensor | None = None
    with _evaluating(network), torch.autocast(device.type, cast, enabled=cast is not None):
        for start in range(0, max(1, len(x)), batch_size):
            part = slice(start, start + batch_size)
            made = _made(network, _as_batch(x[part]).to(device, taken))
            if outputs is None:
                where = x.device if isinstance(x, torch.Tensor) else "cpu"
                outputs = torch.empty((len(x), *made.shape[1:]), device=where)
            outputs[part] = made
    assert outputs is not None
    return outputs if isinstance(x, torch.Tensor) else outputs.numpy()


def _check_kind(x: object) -> None:
    if isinstance(x, torch.Tensor):
        is_real = not x.is_complex()
    elif isinstance(x, np.ndarray):
        is_real = x.dtype.kind in "biuf"
    else:
        raise DataError(f"x: must be a numpy array or a torch tensor, but is a {type(x).__name__}")
    if not is_real or x.ndim == 0:
        raise DataError(f"x: must hold real numbers [samples, ...], not {x.dtype} {list(x.shape)}")


def _as_batch(part: torch.Tensor | NDArray[Any]) -> torch.Tensor:
    """A copy, as a network may write into what it is given."""
    if isinstance(part, torch.Tensor):
        return part.detach().clone()
    return torch.from_numpy(np.array(part, dtype=part.dtype.newbyteorder("=")))


def _made(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    try:
        made = call_whole(network, batch)
    except Exception as error:
        raise DataError(
            f"x: {batch.dtype} inputs {list(batch.shape)} do not pass the network: {error}"
        ) from error
    return made


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module's own again."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
