"""A data set in memory, and the one gate that every source of arrays passes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dni_async.config.target_form import CLASSES, Taken, TargetForm
from dni_async.data.targets import checked_targets, first_at
from dni_async.errors import DataError

__all__ = ["Dataset", "checked_dataset"]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Training and test samples with their targets, all in memory; there may be none to test on.

    x_train and x_test [N, ...features] are both of one dtype: float32 numbers; int64 ids, none
    negative; or uint8, a quarter as large as numbers, and then byte_values, float32 [256], says
    what each byte stands for. decode gives what a network takes. y_train and y_test [N, ...] are
    what form says: int64 labels in [0, num_classes), of which some may not count, one a sample or
    one for each of its positions or pixels; numbers, float32, or int64 with num_classes 0. All four
    are contiguous.
    """

    name: str
    x_train: NDArray[Any] = field(repr=False)
    y_train: NDArray[Any] = field(repr=False)
    x_test: NDArray[Any] = field(repr=False)
    y_test: NDArray[Any] = field(repr=False)
    num_classes: int
    byte_values: NDArray[np.float32] | None = field(default=None, repr=False)
    ignored: int | None = field(default=None, repr=False)

    @property
    def form(self) -> TargetForm:
        """What the targets are like."""
        dtype: Literal["float32", "int64"] = (
            "int64" if self.y_train.dtype == np.int64 else "float32"
        )
        return TargetForm(self.num_classes, self.y_train.shape[1:], dtype, self.ignored)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch dimension."""
        return self.x_train.shape[1:]

    @property
    def num_features(self) -> int:
        """Numbers in one sample: the width of the network's input."""
        return math.prod(self.input_shape)

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
    x_test: NDArray[Any] | None = None,
    y_test: NDArray[Any] | None = None,
    byte_values: NDArray[np.float32] | None = None,
    taken: Taken = CLASSES,
) -> Dataset:
    """Return the arrays as a Dataset; num_classes is the largest label + 1.

    x_* hold finite real numbers [N, ...features], y_* [N, ...] what is taken (see targets). int64
    x_* are taken for ids and stay as they are. Bytes in both stay bytes; byte_values, finite, says
    what they stand for, without it the numbers 0 to 255. All else becomes float32. Raises
    DataError, which names the array and carries the numbers, when they do not hold that, when
    lengths or shapes of one sample differ, and when y_test holds a class that y_train never
    reaches.
    """
    has_test = x_test is not None and y_test is not None
    if x_test is None or y_test is None:
        x_test, y_test = x_train[:1], y_train[:1]  # as good as any; none of it is kept
    dtype = _stored_dtype(name, x_train, x_test)
    if dtype is np.uint8 and byte_values is None:
        byte_values = np.arange(256, dtype=np.float32)
    assert (dtype is np.uint8) == (byte_values is not None)
    train_x = _features(f"{name}: x_train", x_train, dtype)
    test_x = _features(f"{name}: x_test", x_test, dtype)
    for split, x, y in (("train", train_x, y_train), ("test", test_x, y_test)):
        if y.size and y.ndim and len(x) != len(y):
            kind = "labels" if taken.kind == "classes" else "targets"
            raise DataError(
                f"{name}: x_{split} has {len(x)} samples, y_{split} has {kind} of {len(y)}"
            )
    train_y, test_y, form = checked_targets(name, y_train, y_test, taken)
    if train_x.shape[1:] != test_x.shape[1:]:
        raise DataError(
            f"{name}: a sample of x_train has shape {train_x.shape[1:]}, "
            f"one of x_test {test_x.shape[1:]}"
        )
    return Dataset(
        name=name,
        x_train=train_x,
        y_train=train_y,
        x_test=test_x if has_test else test_x[:0],
        y_test=test_y if has_test else test_y[:0],
        num_classes=form.num_classes,
        ignored=form.ignored,
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
    finite = np.isfinite(features)
    if not finite.all():
        place = first_at(~finite)
        raise DataError(
            f"{where} has {features.size - np.count_nonzero(finite)} of {features.size} values not "
            f"finite as float32, the first at {place}: {x[tuple(place)]}"
        )
    return features
