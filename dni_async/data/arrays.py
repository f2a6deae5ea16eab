"""Data that a caller has in memory, in any of the usual forms, as four arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.config.target_form import CLASSES, Taken
from dni_async.data.labels import as_class_labels
from dni_async.data.samples import is_data_set, read_samples, tensors_of
from dni_async.errors import DataError

__all__ = ["ARRAY_NAMES", "as_arrays"]

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")


def as_arrays(data: object, taken: Taken = CLASSES) -> dict[str, NDArray[Any]]:
    """The arrays x_train, y_train, x_test and y_test; of what they hold, only labels are looked at.

    taken: by the loss; where that is class labels, they come as dni_async.data.labels says.

    data: the four in this order, or a mapping with these names, or two parts (training, test),
    each a pair, a TensorDataset of two tensors or a map-style data set (see
    dni_async.data.samples); a test part None, or missing in a mapping, gives the first two alone.
    Each a numpy array, a torch tensor or what numpy makes an array of. Raises DataError for another
    form.
    """
    if isinstance(data, Mapping):
        has_test = any(name in data for name in ARRAY_NAMES[2:])
        names = ARRAY_NAMES if has_test else ARRAY_NAMES[:2]
        missing = [name for name in names if name not in data]
        if missing:
            held = ", ".join(map(str, data)) or "nothing"
            raise DataError(f"data: misses {', '.join(missing)}; holds {held}")
        parts = [data[name] for name in names]
    else:
        parts = _parts(data)
    arrays = {name: _array(name, part) for name, part in zip(ARRAY_NAMES, parts, strict=False)}
    return as_class_labels(arrays) if taken.kind == "classes" else arrays


def _parts(data: object) -> list[Any]:
    parts = _sequence(data)
    if len(parts) == 2:
        splits = ("train", "test")
        halves = [_half(split, part) for split, part in zip(splits, parts, strict=True)]
        if len(halves[0]) == 2 and (len(halves[1]) == 2 or parts[1] is None):
            return [*halves[0], *halves[1]]
    if len(parts) != len(ARRAY_NAMES):
        raise DataError(
            f"data: must be ({', '.join(ARRAY_NAMES)}), a mapping with these names, or two pairs "
            f"(training and test) or data sets, but is {_form(data)}"
        )
    return parts


def _half(split: str, part: Any) -> list[Any]:
    """Inputs and targets of one part; something else where it is none."""
    tensors = tensors_of(part)
    if tensors is None and is_data_set(part):
        return list(read_samples(split, part))
    return _sequence(part if tensors is None else tensors)


def _sequence(value: object) -> list[Any]:
    """The parts of a list or tuple; none of anything else, as arrays have a length too."""
    return list(value) if isinstance(value, list | tuple) else []


def _array(name: str, value: Any) -> NDArray[Any]:
    try:
        if hasattr(value, "detach"):  # a tensor, perhaps on a GPU, perhaps of a graph
            value = value.detach().cpu()
            if value.is_floating_point():
                value = value.float()  # numpy has no bfloat16
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"data: {name} is no array: {error}") from error


def _form(data: object) -> str:
    if isinstance(data, list | tuple):
        return f"{len(data)} x {', '.join(type(part).__name__ for part in data[:4])}"
    return f"a {type(data).__name__}"
