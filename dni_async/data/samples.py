"""A map-style data set, or a loader of one, read into two arrays in its own order."""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.errors import DataError

__all__ = ["batch_size_of", "is_data_set", "read_samples", "tensors_of"]

TRIED = 16  # samples that are read twice, to see whether they are the same
PART_OF_MEMORY = 4  # one of so many parts may hold a data set


def is_data_set(value: object) -> bool:
    """Whether value gives samples, or is a torch data set or loader; no array, list or mapping."""
    if _is_torchs(value, "Dataset") or _is_torchs(value, "DataLoader"):
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
    """That of the first loader in data = (training, test); None where there is none."""
    first = data[0] if isinstance(data, list | tuple) and data else None
    size = first.batch_size if first is not None and _is_torchs(first, "DataLoader") else None
    return size if isinstance(size, int) else None


def read_samples(split: str, source: Any) -> list[NDArray[Any]]:
    """Inputs [N, ...] and targets [N, ...] of all samples (input, target) of source.

    split: train or test, for errors. Raises DataError, with the remedy, for what no arrays can
    stand for: streams, random samples, loaders that choose or change samples; what does not fit
    into memory; and samples that are not all alike.
    """
    data_set = _data_set_of(split, source)
    count = _count(split, data_set)
    before = _generators()
    first = [_sample(split, data_set, index) for index in range(min(count, TRIED))]
    arrays = _room(split, first[0], count)
    for index, earlier in enumerate(first):
        _check_same(split, earlier, _sample(split, data_set, index))
    for index in range(count):
        sample = first[index] if index < TRIED else _sample(split, data_set, index)
        _put(split, arrays, index, sample)
    if before != _generators():
        raise _random(split)
    return arrays


def _is_torchs(value: object, kind: str) -> bool:
    torch = sys.modules.get("torch")  # without it, nothing is of its classes
    return torch is not None and isinstance(value, getattr(torch.utils.data, kind))


def _data_set_of(split: str, source: Any) -> Any:
    """The data set that source is or reads. Raises DataError."""
    data_set = source
    if _is_torchs(source, "DataLoader"):
        data_set = source.dataset
        _check_loader(split, source)
    if _is_torchs(data_set, "IterableDataset"):
        raise DataError(
            f"data: the {split} part is a {type(data_set).__name__}, a stream, which no arrays "
            "can stand for; read what you need of it into two arrays or tensors and give those"
        )
    return data_set


def _check_loader(split: str, loader: Any) -> None:
    from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, default_collate
    from torch.utils.data._utils.collate import default_convert

    if _is_torchs(loader.dataset, "IterableDataset"):
        return
    sampler = loader.sampler
    is_plain = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and sampler.num_samples == len(loader.dataset)
    )
    if not is_plain or type(loader.batch_sampler) not in (BatchSampler, type(None)):
        raise DataError(
            f"data: the loader of the {split} part chooses samples by a sampler of its own, which "
            "no arrays can stand for; give a torch.utils.data.Subset of its data set"
        )
    if loader.collate_fn not in (default_collate, default_convert):
        raise DataError(
            f"data: the loader of the {split} part has a collate_fn, which may change samples; do "
            "that in the data set and give the data set itself"
        )


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
        raise DataError(
            f"data: the {count:,} samples of the {split} part take {needed / 1e9:.2f} GB as "
            f"arrays, but a quarter of this machine's memory is {most / 1e9:.2f} GB; give a "
            "torch.utils.data.Subset, or smaller inputs (uint8 takes a quarter of float32)"
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


def _random(split: str) -> DataError:
    return DataError(
        f"data: samples of the {split} part are drawn at random at every reading (augmentation), "
        "which no arrays can stand for; take the random transforms out of the data set, or make "
        "them the first child of the network, active in training alone"
    )


def _generators() -> tuple[object, ...]:
    """The states of the generators that augmentation draws from."""
    numpys: Any = np.random.get_state(legacy=True)
    torch = sys.modules.get("torch")
    torchs = b"" if torch is None else torch.get_rng_state().numpy().tobytes()
    return random.getstate(), numpys[1].tobytes(), numpys[2:], torchs
