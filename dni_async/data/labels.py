"""Class labels in the forms that people have them in: a column, one-hot, zeros and ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.errors import DataError

__all__ = ["as_class_labels"]

_NO_NUMBERS = (
    "give class labels as integers (y.astype('int64')), or to train on numbers name "
    'loss="mse" or "huber"'
)
_NO_SEVERAL = (
    "give one class number for each sample, or for several labels a sample name "
    'loss="bce-with-logits"'
)


def as_class_labels(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """arrays with y_train and y_test as integers where they say a class in another form.

    A column [N, 1] becomes [N], one-hot rows [N, C] the number of their column, booleans and
    numbers that are exactly 0 or 1 integers. Integers [N, T] that are one-hot stay labels of T
    positions where x has as many. What else is wrong is not said here. Raises DataError for other
    numbers, which are regression targets, and for rows with several ones.
    """
    splits = [split for split in ("train", "test") if f"y_{split}" in arrays]
    labels = {split: _without_column(arrays[f"y_{split}"]) for split in splits}
    if _are_one_hot(list(labels.values()), arrays["x_train"]):
        labels = {split: y.argmax(1) if y.ndim == 2 else y for split, y in labels.items()}
    said = {f"y_{split}": _integers(f"y_{split}", y) for split, y in labels.items()}
    return {name: said.get(name, array) for name, array in arrays.items()}


def _without_column(y: NDArray[Any]) -> NDArray[Any]:
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _are_one_hot(labels: list[NDArray[Any]], x: NDArray[Any]) -> bool:
    """Whether those of integers that have two dimensions are one-hot, and no positions of x."""
    wide = [y for y in labels if y.ndim == 2 and y.dtype.kind in "iu" and y.size]
    if not wide or len({y.shape[1] for y in wide}) > 1:
        return False
    has_positions = x.ndim == 3 or (x.ndim == 2 and x.dtype == np.int64)
    if has_positions and x.shape[1] == wide[0].shape[1]:
        return False
    return all(_is_binary(y) and _is_one_a_row(y) for y in wide)


def _integers(name: str, y: NDArray[Any]) -> NDArray[Any]:
    """What is no integer, as labels. Raises DataError."""
    if y.dtype.kind not in "bf" or y.size == 0:
        return y
    if not _is_binary(y):
        raise DataError(
            f"data: {name} must hold integer labels, not {y.dtype} numbers {list(y.shape)}; "
            f"{_NO_NUMBERS}"
        )
    if y.ndim != 2:  # of samples, or of pixels
        return y.astype(np.int64)
    if not _is_one_a_row(y):
        raise DataError(
            f"data: {name} must hold integer labels or one-hot rows, but a row of {y.dtype} "
            f"{list(y.shape)} has not exactly one 1; {_NO_SEVERAL}"
        )
    classes: NDArray[np.int64] = y.argmax(1)
    return classes


def _is_binary(y: NDArray[Any]) -> bool:
    return bool(np.all((y == 0) | (y == 1)))


def _is_one_a_row(y: NDArray[Any]) -> bool:
    return bool(np.all(np.count_nonzero(y, axis=1) == 1))
