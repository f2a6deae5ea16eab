"""A map-style data set, read into two arrays in its own order."""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.errors import DataError

__all__ = ["NoArrays", "batch_size_of", "is_data_set", "is_live", "read_samples", "tensors_of"]

TRIED = 16  # samples that are read twice, to see whether they are the same
PART_OF_MEMORY = 4  # one of so many parts may hold a data set


class NoArrays(DataError):
    """A data set that can be trained on, but is no arrays: read it as it goes."""


def is_live(value: object) -> bool:
    """Whether value is a torch loader, or a data set without an order: both are read as they go."""
    return _is_torchs(value, "DataLoader") or _is_torchs(value, "IterableDataset")


def is_data_set(value: object) -> bool:
    """Whether value gives samples by number, or is a torch data set; no array, list or mapping."""
    if _is_torchs(value, "Dataset"):
        return True
    is_other = isinstance(value, list | tuple | dict | str | bytes | np.ndarray)
    is_other = is_other or hasattr(value, "detach") or hasattr(value, "__array__")
    return not is_other and hasattr(value, "__getitem__") and hasattr(value, "__len__")


def tensors_of(value: object) -> Any:
    """The tensors of a TensorDataset; None of all else, and of a subclass: it may change them."""
    if _is_torchs(value, "Dataset"):
        from torch.utils.data import TensorDataset

        return value.tensors if type(value) is TensorDataset else None
    return getattr(value, "tensors", None)


def batch_size_of(data: object) -> int | None:
    """That of the training loader in data = (training, test), or training alone; None without."""
    first: Any = data[0] if isinstance(data, list | tuple) and data else data
    size = first.batch_size if first is not None and _is_torchs(first, "DataLoader") else None
    return size if isinstance(size, int) else None


def read_samples(split: str, source: Any) -> list[NDArray[Any]]:
    """Inputs [N, ...] and targets [N, ...] of all samples (input, target) of source.

    split: train or test, for errors. Raises NoArrays for random samples, and what does not fit into
    memory; another DataError, with the remedy, for samples that are not all alike.
    """
    data_set = source
    count = _count(split, data_set)
    before = _generators()
    first = [_sample(split, data_set, index) for index in range(min(count, TRIED))]
    arrays = _room(split, first[0], count)
    for index, earlier in enumerate(first):
        _check_same(split, earlier, _sample(split, data_set, index))
    if before != _generators():
        raise _random(split)
    for index in range(count):
        sample = first[index] if index < TRIED else _sample(split, data_set, index)
        _put(split, arrays, index, sample)
    if before != _generators():
        raise _random(split)
    return arrays


def _is_torchs(value: object, kind: str) -> bool:
    torch = sys.modules.get("torch")  # without it, nothing is of its classes
    return torch is not None and isinstance(value, getattr(torch.utils.data, kind))


def _count(split: str, data_set: Any) -> int:
    try:
        count = len(data_set)
    except (TypeError, NotImplementedError) as error:
        raise DataError(
            f"data: the {split} part, a {type(data_set).__name__}, has no length; give it a "
            "__len__, or two arrays"
        ) from error
    if count == 0:
        raise DataError(f"data: the {split} part, a {type(data_set).__name__}, has no samples")
    return count


def _sample(split: str, data_set: Any, index: int) -> list[NDArray[Any]]:
    """Input and target as arrays. Raises DataError."""
    try:
        sample = data_set[index]
    except Exception as error:  # whatever a data set of the user's raises
        raise DataError(f"data: sample {index} of the {split} part raised {error!r}") from error
    if not isinstance(sample, list | tuple) or len(sample) != 2:
        raise DataError(
            f"data: sample {index} of the {split} part is {_form(sample)}, not (input, target); "
            "give a data set whose samples are such pairs"
        )
    return [_array(split, index, part) for part in sample]


def _form(sample: object) -> str:
    if isinstance(sample, list | tuple):
        return f"{len(sample)} x {', '.join(type(part).__name__ for part in sample[:4])}"
    return f"a {type(sample).__name__}"


def _array(split: str, index: int, value: Any) -> NDArray[Any]:
    """value as it was at this call, whatever a data set does with its memory later."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    if not isinstance(value, np.ndarray | np.generic | bool | int | float):
        raise DataError(
            f"data: sample {index} of the {split} part holds a {type(value).__name__}; give "
            "tensors, arrays or numbers (torchvision: transform=ToTensor())"
        )
    array = np.array(value)
    if array.dtype.kind != "f" or array.ndim == 0:
        return array
    with np.errstate(over="ignore"):  # what becomes infinite is counted with all samples
        return array.astype(np.float32)


def _room(split: str, sample: list[NDArray[Any]], count: int) -> list[NDArray[Any]]:
    """Empty arrays for count such samples. Raises DataError if they do not fit."""
    needed, most = count * sum(part.nbytes for part in sample), _most_bytes()
    if needed > most:
        raise NoArrays(
            f"data: the {count:,} samples of the {split} part take {needed / 1e9:.2f} GB as "
            f"arrays, but a quarter of this machine's memory is {most / 1e9:.2f} GB"
        )
    return [np.empty((count, *part.shape), part.dtype) for part in sample]


def _most_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // PART_OF_MEMORY


def _put(split: str, arrays: list[NDArray[Any]], index: int, sample: list[NDArray[Any]]) -> None:
    for array, part in zip(arrays, sample, strict=True):
        if part.shape != array.shape[1:] or not np.can_cast(part.dtype, array.dtype, "same_kind"):
            raise DataError(
                f"data: sample {index} of the {split} part has {part.dtype} {list(part.shape)}, "
                f"but sample 0 {array.dtype} {list(array.shape[1:])}; pad, resize or convert them "
                "in the data set, so that all are alike"
            )
        array[index] = part


def _check_same(split: str, one: list[NDArray[Any]], again: list[NDArray[Any]]) -> None:
    for first, second in zip(one, again, strict=True):
        is_float = first.dtype.kind == "f"
        if not np.array_equal(first, second, equal_nan=is_float):
            raise _random(split)


def _random(split: str) -> NoArrays:
    return NoArrays(
        f"data: samples of the {split} part are drawn at random at every reading (augmentation)"
    )


def _generators() -> tuple[object, ...]:
    """The states of the generators that augmentation draws from."""
    numpys: Any = np.random.get_state(legacy=True)
    torch = sys.modules.get("torch")
    torchs = b"" if torch is None else torch.get_rng_state().numpy().tobytes()
    return random.getstate(), numpys[1].tobytes(), numpys[2:], torchs
