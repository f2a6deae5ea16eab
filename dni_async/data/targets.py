"""The one gate that every source of targets passes: what they may hold, by what the loss takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.config.target_form import Taken, TargetForm
from dni_async.errors import DataError

__all__ = ["MAX_LABEL", "checked_targets", "first_at"]

MAX_LABEL = 2**20
"""Largest label taken for a class: the head has an output per class, so an id costs gigabytes."""


def checked_targets(
    name: str, y_train: NDArray[Any], y_test: NDArray[Any], taken: Taken
) -> tuple[NDArray[Any], NDArray[Any], TargetForm]:
    """y_train and y_test [N, ...] as the loss takes them, contiguous, and what they are like.

    Labels become int64, numbers float32; where both are taken, integers stay int64, and are class
    labels if none is negative. Raises DataError, which begins with name and names the array.
    """
    train = _stored(f"{name}: y_train", y_train, taken)
    test = _stored(f"{name}: y_test", y_test, taken)
    if train.dtype != test.dtype:
        raise DataError(f"{name}: y_train is {y_train.dtype}, y_test {y_test.dtype}; make them one")
    if train.shape[1:] != test.shape[1:]:
        kind = "labels" if taken.kind == "classes" else "targets"
        raise DataError(
            f"{name}: the {kind} of a sample of y_train have shape {train.shape[1:]}, "
            f"those of y_test {test.shape[1:]}"
        )
    if train.dtype != np.int64:
        return train, test, TargetForm(0, train.shape[1:], "float32")
    return train, test, _form(name, train, test, taken)


def first_at(wrong: NDArray[np.bool_]) -> list[int]:
    """Where the first one is."""
    return [int(place) for place in np.unravel_index(int(wrong.argmax()), wrong.shape)]


def _stored(where: str, y: NDArray[Any], taken: Taken) -> NDArray[Any]:
    if taken.kind == "classes":
        return _labels(where, y, taken)
    if y.dtype.kind not in "biuf":
        raise DataError(f"{where} must hold real numbers, not {y.dtype}")
    if y.ndim < 1 or y.size == 0:
        raise DataError(f"{where} has shape {y.shape}, not [samples, ...] with some of each")
    if taken.kind == "any" and y.dtype.kind in "iu":
        return np.ascontiguousarray(y, dtype=np.int64)
    with np.errstate(over="ignore"):  # an overflow becomes inf, which is told below
        numbers = np.ascontiguousarray(y, dtype=np.float32)
    finite = np.isfinite(numbers)
    if not finite.all():
        place = first_at(~finite)
        raise DataError(
            f"{where} has {numbers.size - np.count_nonzero(finite)} of {numbers.size} values not "
            f"finite as float32, the first at {place}: {y[tuple(place)]}"
        )
    if taken.kind == "shares":
        _check_shares(where, numbers)
    return numbers


def _check_shares(where: str, numbers: NDArray[np.float32]) -> None:
    wrong = (numbers < 0) | (numbers > 1)
    if wrong.any():
        place = first_at(wrong)
        raise DataError(
            f"{where} holds {numbers[tuple(place)]:g} at {place}, but the loss takes zeros and "
            'ones; for one class number a sample name loss="cross-entropy", for numbers loss="mse"'
        )


def _labels(where: str, y: NDArray[Any], taken: Taken) -> NDArray[np.int64]:
    if y.dtype.kind not in "iu":
        raise DataError(
            f"{where} must hold integer labels, not {y.dtype}; to train on numbers name "
            'loss="mse" or "huber"'
        )
    if y.ndim < 1 or y.size == 0:
        raise DataError(
            f"{where} has shape {y.shape}, not [samples] or [samples, positions] with some of each"
        )
    counted = y[y != taken.ignore_index]
    if counted.size == 0:
        raise DataError(f"{where} holds no label but {taken.ignore_index}, which does not count")
    lowest, highest = int(counted.min()), int(counted.max())
    if lowest < 0:
        raise DataError(
            f"{where} holds label {lowest}; labels start at 0, and what ignore_index says, "
            f"{taken.ignore_index}, does not count"
        )
    if highest > MAX_LABEL:
        raise DataError(f"{where} holds label {highest}; the largest accepted is {MAX_LABEL}")
    return np.ascontiguousarray(y, dtype=np.int64)


def _form(name: str, train: NDArray[np.int64], test: NDArray[np.int64], taken: Taken) -> TargetForm:
    """Of integers."""
    counted = [y[y != taken.ignore_index] for y in (train, test)]
    highest, highest_test = (int(y.max(initial=-1)) for y in counted)
    if taken.kind == "classes" and highest_test > highest:
        raise DataError(f"{name}: y_test holds label {highest_test}, but y_train ends at {highest}")
    highest = max(highest, highest_test)
    are_labels = highest <= MAX_LABEL and all(int(y.min(initial=0)) >= 0 for y in counted)
    num_counted = sum(map(len, counted))
    return TargetForm(
        highest + 1 if are_labels else 0,
        train.shape[1:],
        "int64",
        ignored=taken.ignore_index if are_labels and num_counted < train.size + test.size else None,
    )
