"""The training and the test part of what a user gives as data, each arrays or a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.config.target_form import CLASSES, Taken
from dni_async.data.arrays import as_arrays
from dni_async.data.samples import NoArrays, is_data_set, is_live
from dni_async.data.streams.checking import broken
from dni_async.errors import DataError

__all__ = ["Parts", "parts_of"]

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Parts:
    """Training and test part as they were given, at least one a stream; test: None if missing."""

    train: Any
    test: Any

    @property
    def __name__(self) -> str:
        """What they are, for whoever must say that they cannot travel."""
        kinds = [type(part).__name__ for part in (self.train, self.test) if part is not None]
        return " and ".join(dict.fromkeys(kinds))

    def __call__(self) -> Parts:
        """Itself, as a factory of data gives it."""
        return self


def parts_of(data: Any, taken: Taken = CLASSES) -> Arrays | Parts:
    """data as arrays x_train, y_train and, where there are some, x_test and y_test; else as parts.

    data: (training, test), (training,), or training alone; each a pair of arrays, a data set, a
    loader, any re-iterable of batches (inputs, targets), or a function that gives such. Arrays too
    in the forms of dni_async.data.arrays; a function that gives any of all this. Data sets whose
    samples arrays can stand for are read into them, the others and all loaders stay live. taken: by
    the loss. Raises DataError, also for what a function raises.
    """
    if is_function(data):
        try:
            made = data()
        except Exception as error:  # whatever the user's own code raises
            raise broken("data", error) from None
        if isinstance(made, Parts):
            return made
        data = data if isinstance(made, Iterator) else made
    halves = _halves(data)
    if halves is None:
        return as_arrays(data, taken)
    train, test = halves
    for split, part in (("training", train), ("test", test)):
        if isinstance(part, Iterator):
            raise DataError(
                f"data: the {split} part is a {type(part).__name__}, which can be passed over "
                "once; give a function that makes it"
            )
    if train is None:
        raise DataError("data: the training part is None; give (training, test) or training alone")
    if not (_is_stream(train) or _is_stream(test)):
        try:
            return as_arrays((train, test), taken)
        except NoArrays:
            pass
    return Parts(train, test)


def is_function(value: object) -> bool:
    """Whether value makes data when it is called, and is none."""
    return callable(value) and not hasattr(value, "__iter__") and not hasattr(value, "__getitem__")


def _halves(data: Any) -> tuple[Any, Any] | None:
    """Training and test part; None where data is four arrays or another form for arrays alone."""
    if isinstance(data, Mapping):
        return None
    if not isinstance(data, list | tuple):
        return None if _is_array(data) else (data, None)
    if len(data) == 1:
        return data[0], None
    if len(data) == 2:
        return (data, None) if all(map(_is_array, data)) else (data[0], data[1])
    if isinstance(data, list) and all(map(is_batch, data)):
        return data, None
    return None


def _is_stream(part: Any) -> bool:
    """Whether part is live, whatever it holds; a data set may yet turn out to be."""
    if part is None or _is_array(part) or hasattr(part, "tensors"):
        return False
    if isinstance(part, list | tuple):
        return bool(part) and all(map(is_batch, part))
    return is_live(part) or not is_data_set(part)


def is_batch(value: object) -> bool:
    """Whether value is (inputs, targets) of several samples."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and _is_array(value[1])
        and (_is_array(value[0]) or isinstance(value[0], list | tuple))
        and np.ndim(value[1]) > 0
    )


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "detach")
