"""A data set for classification, and the one gate that every source of arrays passes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.errors import DataError

__all__ = ["MAX_LABEL", "Dataset", "checked_dataset"]

MAX_LABEL = 2**20
"""Largest label taken for a class: the head has an output per class, so an id costs gigabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Training and test samples with their labels, all in memory.

    x_train and x_test [N, ...features] are both float32, or both uint8 and a quarter as large;
    then byte_values, float32 [256], says what each byte stands for. decode gives what a network
    takes. y_train and y_test are int64 [N] with values in [0, num_classes). All four are
    contiguous.
    """

    name: str
    x_train: NDArray[Any] = field(repr=False)
    y_train: NDArray[np.int64] = field(repr=False)
    x_test: NDArray[Any] = field(repr=False)
    y_test: NDArray[np.int64] = field(repr=False)
    num_classes: int
    byte_values: NDArray[np.float32] | None = field(default=None, repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch dimension."""
        return self.x_train.shape[1:]

    @property
    def num_features(self) -> int:
        """Numbers in one sample: the width of the network's input."""
        return math.prod(self.input_shape)

    def decode(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Rows of x_train or x_test as float32 [N, ...features]: a copy if they are bytes."""
        if self.byte_values is None:
            return x
        return self.byte_values.take(x, mode="clip")  # no byte is out of range: skips that check


def checked_dataset(
    name: str,
    *,
    x_train: NDArray[Any],
    y_train: NDArray[Any],
    x_test: NDArray[Any],
    y_test: NDArray[Any],
    byte_values: NDArray[np.float32] | None = None,
) -> Dataset:
    """Return the arrays as a Dataset; num_classes is the largest label + 1.

    x_* hold finite real numbers [N, ...features], y_* non-negative integers [N]. byte_values,
    finite, says what the bytes of x_* stand for; without it, for the numbers 0 to 255. Raises
    DataError, which names the array and carries the numbers, when they do not, when lengths or
    feature shapes differ, and when y_test holds a class that y_train never reaches.
    """
    if x_train.dtype == x_test.dtype == np.uint8:
        byte_values = np.arange(256, dtype=np.float32) if byte_values is None else byte_values
    else:
        assert byte_values is None
    dtype = np.float32 if byte_values is None else np.uint8
    train_x, train_y = _checked_split(name, "train", x_train, y_train, dtype)
    test_x, test_y = _checked_split(name, "test", x_test, y_test, dtype)
    if train_x.shape[1:] != test_x.shape[1:]:
        raise DataError(
            f"{name}: a sample of x_train has shape {train_x.shape[1:]}, "
            f"one of x_test {test_x.shape[1:]}"
        )
    highest, highest_test = int(train_y.max()), int(test_y.max())
    if highest_test > highest:
        raise DataError(f"{name}: y_test holds label {highest_test}, but y_train ends at {highest}")
    return Dataset(
        name=name,
        x_train=train_x,
        y_train=train_y,
        x_test=test_x,
        y_test=test_y,
        num_classes=highest + 1,
        byte_values=byte_values,
    )


def _checked_split(
    name: str, split: str, x: NDArray[Any], y: NDArray[Any], dtype: type[np.generic]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    features = _features(f"{name}: x_{split}", x, dtype)
    labels = _labels(f"{name}: y_{split}", y)
    if len(features) != len(labels):
        raise DataError(
            f"{name}: x_{split} has {len(features)} samples, y_{split} has {len(labels)} labels"
        )
    return features, labels


def _features(where: str, x: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    if x.dtype.kind not in "iuf":
        raise DataError(f"{where} must hold real numbers, not {x.dtype}")
    if x.ndim < 2 or x.size == 0:
        raise DataError(
            f"{where} has shape {x.shape}, not [samples, ...features] with some of each"
        )
    with np.errstate(over="ignore"):  # an overflow becomes inf, which is counted below
        features = np.ascontiguousarray(x, dtype=dtype)
    if dtype is np.uint8:
        return features
    num_bad = features.size - int(np.count_nonzero(np.isfinite(features)))
    if num_bad:
        raise DataError(f"{where} has {num_bad} of {features.size} values not finite as float32")
    return features


def _labels(where: str, y: NDArray[Any]) -> NDArray[np.int64]:
    if y.dtype.kind not in "iu":
        raise DataError(f"{where} must hold integer labels, not {y.dtype}")
    if y.ndim != 1 or y.size == 0:
        raise DataError(f"{where} has shape {y.shape}, not [samples] with at least one")
    lowest, highest = int(y.min()), int(y.max())
    if lowest < 0:
        raise DataError(f"{where} holds label {lowest}; labels start at 0")
    if highest > MAX_LABEL:
        raise DataError(f"{where} holds label {highest}; the largest accepted is {MAX_LABEL}")
    return np.ascontiguousarray(y, dtype=np.int64)
