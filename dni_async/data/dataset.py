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

    x_train and x_test [N, ...features] are both of one dtype: float32 numbers; int64 ids, none
    negative; or uint8, a quarter as large as numbers, and then byte_values, float32 [256], says
    what each byte stands for. decode gives what a network takes. y_train and y_test are int64 with
    values in [0, num_classes): [N], or [N, T] with a label for each of T positions of a sample. All
    four are contiguous.
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

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of one sample's labels: () for one label, (T,) for one at each position."""
        return self.y_train.shape[1:]

    @property
    def holds_ids(self) -> bool:
        """Whether the samples are int64 ids."""
        return self.x_train.dtype == np.int64

    def decode(self, x: NDArray[Any]) -> NDArray[Any]:
        """Rows of x_train or x_test as a network takes them: float32 or int64 [N, ...features].

        A copy if they are bytes.
        """
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

    x_* hold finite real numbers [N, ...features], y_* non-negative integers [N] or [N, T]. int64
    x_* are taken for ids and stay as they are. Bytes in both stay bytes; byte_values, finite, says
    what they stand for, without it the numbers 0 to 255. All else becomes float32. Raises
    DataError, which names the array and carries the numbers, when they do not hold that, when
    lengths or shapes of one sample differ, and when y_test holds a class that y_train never
    reaches.
    """
    dtype = _stored_dtype(name, x_train, x_test)
    if dtype is np.uint8 and byte_values is None:
        byte_values = np.arange(256, dtype=np.float32)
    assert (dtype is np.uint8) == (byte_values is not None)
    train_x, train_y = _checked_split(name, "train", x_train, y_train, dtype)
    test_x, test_y = _checked_split(name, "test", x_test, y_test, dtype)
    if train_x.shape[1:] != test_x.shape[1:]:
        raise DataError(
            f"{name}: a sample of x_train has shape {train_x.shape[1:]}, "
            f"one of x_test {test_x.shape[1:]}"
        )
    if train_y.shape[1:] != test_y.shape[1:]:
        raise DataError(
            f"{name}: the labels of a sample of y_train have shape {train_y.shape[1:]}, "
            f"those of y_test {test_y.shape[1:]}"
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


def _stored_dtype(name: str, x_train: NDArray[Any], x_test: NDArray[Any]) -> type[np.generic]:
    if x_train.dtype == x_test.dtype == np.uint8:
        return np.uint8
    # By kind and size: the bytes of a file may stand in the other order.
    hold_ids = [x.dtype.kind == "i" and x.dtype.itemsize == 8 for x in (x_train, x_test)]
    if hold_ids[0] != hold_ids[1]:
        raise DataError(
            f"{name}: x_train is {x_train.dtype}, x_test {x_test.dtype}: int64 are ids, and then "
            "both must be; store numbers as float32"
        )
    return np.int64 if all(hold_ids) else np.float32


def _checked_split(
    name: str, split: str, x: NDArray[Any], y: NDArray[Any], dtype: type[np.generic]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    features = _features(f"{name}: x_{split}", x, dtype)
    labels = _labels(f"{name}: y_{split}", y)
    if len(features) != len(labels):
        raise DataError(
            f"{name}: x_{split} has {len(features)} samples, y_{split} has labels of {len(labels)}"
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
    if dtype is np.int64:
        lowest = int(features.min())
        if lowest < 0:
            raise DataError(
                f"{where} holds {lowest}, but int64 are ids, which start at 0; store numbers as "
                "float32"
            )
        return features
    num_bad = features.size - int(np.count_nonzero(np.isfinite(features)))
    if num_bad:
        raise DataError(f"{where} has {num_bad} of {features.size} values not finite as float32")
    return features


def _labels(where: str, y: NDArray[Any]) -> NDArray[np.int64]:
    if y.dtype.kind not in "iu":
        raise DataError(f"{where} must hold integer labels, not {y.dtype}")
    if y.ndim not in (1, 2) or y.size == 0:
        raise DataError(
            f"{where} has shape {y.shape}, not [samples] or [samples, positions] with some of each"
        )
    lowest, highest = int(y.min()), int(y.max())
    if lowest < 0:
        raise DataError(f"{where} holds label {lowest}; labels start at 0")
    if highest > MAX_LABEL:
        raise DataError(f"{where} holds label {highest}; the largest accepted is {MAX_LABEL}")
    return np.ascontiguousarray(y, dtype=np.int64)
