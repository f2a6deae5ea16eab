"""Makes a stream of a part of a user's data, whatever of all that can be one it is."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from dni_async.data.samples import is_data_set, tensors_of
from dni_async.data.streams.parts import is_batch, is_function
from dni_async.data.streams.stream import HeldBatches, Loader, Stream, iterated
from dni_async.errors import DataError

__all__ = ["make_stream"]


def make_stream(
    part: str, given: Any, batch_size: int, *, shuffles: bool, keeps_states: bool = False
) -> Stream:
    """The training or the test part as a stream.

    A loader, batches and what gives batches decide by themselves how large those are; samples come
    in batches of batch_size, shuffled where they have numbers and shuffles says so. keeps_states:
    of what can say where it is. Raises DataError.
    """
    if isinstance(given, DataLoader):
        return Loader(given, keeps_states=keeps_states)
    if isinstance(given, IterableDataset):
        return Loader(DataLoader(given, batch_size=batch_size))
    if isinstance(given, list | tuple) and given and all(map(is_batch, given)):
        return HeldBatches(given)
    tensors = _pair_of_tensors(part, given)
    if tensors is not None:
        given = _Rows(*tensors)
        return Loader(DataLoader(given, batch_size, shuffle=shuffles, collate_fn=given.take))
    if is_data_set(given):
        return Loader(DataLoader(given, batch_size=batch_size, shuffle=shuffles))
    if not (hasattr(given, "__iter__") or is_function(given)) or isinstance(given, str | dict):
        raise DataError(
            f"data: the {part} part is a {type(given).__name__}; give a pair of arrays, a data "
            "set, a loader, batches (inputs, targets), or a function that gives such"
        )
    return iterated(given, keeps_states=keeps_states)


def _pair_of_tensors(part: str, given: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Inputs and targets of arrays, beside which the other part is a stream."""
    if isinstance(given, TensorDataset):
        given = tensors_of(given)
    if not isinstance(given, list | tuple) or len(given) != 2:
        return None
    try:
        x, y = (torch.as_tensor(each) for each in given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"data: the {part} part is no pair of arrays: {error}") from error
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise DataError(
            f"data: the {part} part has inputs {list(x.shape)} and targets {list(y.shape)}"
        )
    return x, y


class _Rows(Dataset[int]):
    """Arrays in which a loader looks up a whole batch at once."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self._tensors = x, y

    def __len__(self) -> int:
        return len(self._tensors[0])

    def __getitem__(self, index: int) -> int:
        return index

    def take(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """The rows of a batch."""
        chosen = torch.tensor(indices)
        return tuple(each[chosen] for each in self._tensors)
