"""One gate for all arrays: what passes it fits a network, what does not is refused in numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from dni_async.data.dataset import checked_dataset
from dni_async.data.targets import MAX_LABEL
from dni_async.errors import DataError

GOOD: dict[str, Any] = {
    "x_train": np.zeros((6, 2, 3), np.float64),
    "y_train": np.array([0, 1, 2, 3, 0, 1], np.uint8),
    "x_test": np.ones((2, 2, 3), np.int16),
    "y_test": np.array([3, 0], np.int32),
}


def test_arrays_are_cast_and_contiguous() -> None:
    backwards = {name: np.flip(array) for name, array in GOOD.items()}
    dataset = checked_dataset("mine", **backwards)
    for x, length in ((dataset.x_train, 6), (dataset.x_test, 2)):
        assert x.dtype == np.float32
        assert x.shape == (length, 2, 3)
        assert x.flags.c_contiguous
    for y, length in ((dataset.y_train, 6), (dataset.y_test, 2)):
        assert y.dtype == np.int64
        assert y.shape == (length,)
        assert y.flags.c_contiguous
    assert dataset.y_train.tolist() == [1, 0, 3, 2, 1, 0]
    assert dataset.x_test.tolist() == np.ones((2, 2, 3)).tolist()


def test_bytes_stay_bytes_and_stand_for_numbers() -> None:
    x_train, x_test = (np.arange(length * 6, dtype=np.uint8).reshape(-1, 2, 3) for length in (6, 2))
    given = GOOD | {"x_train": x_train, "x_test": x_test}
    halves = np.arange(256, dtype=np.float32) / 2
    for byte_values, factor in ((None, 1.0), (halves, 0.5)):
        dataset = checked_dataset("mine", **given, byte_values=byte_values)
        assert dataset.x_train.dtype == dataset.x_test.dtype == np.uint8
        decoded = dataset.decode(dataset.x_train[2:4])
        assert decoded.dtype == np.float32
        assert decoded.tolist() == (x_train[2:4] * factor).tolist()


def test_bytes_beside_numbers_are_numbers() -> None:
    dataset = checked_dataset("mine", **(GOOD | {"x_train": np.full((6, 2, 3), 255, np.uint8)}))
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.float32
    assert dataset.decode(dataset.x_train) is dataset.x_train
    assert (dataset.x_train == 255).all()


@pytest.mark.parametrize("dtype", ["<i8", ">i8"])
def test_ids_and_a_label_for_each_position(dtype: str) -> None:
    ids, labels = np.arange(12).reshape(4, 3).astype(dtype), np.arange(12).reshape(4, 3) % 5
    dataset = checked_dataset("mine", x_train=ids, y_train=labels, x_test=ids, y_test=labels)
    assert dataset.holds_ids
    assert dataset.x_train.dtype == np.int64
    assert dataset.decode(dataset.x_train).tolist() == ids.tolist()
    assert dataset.y_test.tolist() == labels.tolist()
    assert (dataset.input_shape, dataset.form.shape, dataset.num_classes) == ((3,), (3,), 5)


def test_ids_start_at_0() -> None:
    ids = np.array([[0, -3]])
    with pytest.raises(DataError, match="mine: x_test holds -3, but int64 are ids, which start"):
        checked_dataset(
            "mine", x_train=-ids * 0, y_train=np.zeros(1, int), x_test=ids, y_test=np.zeros(1, int)
        )


def test_shape_and_classes() -> None:
    dataset = checked_dataset("mine", **GOOD)
    assert dataset.input_shape == (2, 3)
    assert dataset.num_features == 6
    assert dataset.form.shape == ()
    assert not dataset.holds_ids
    assert dataset.num_classes == 4
    assert repr(dataset) == "Dataset(name='mine', num_classes=4)"


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"x_train": np.zeros((6, 2, 3), bool)}, "x_train must hold real numbers, not bool"),
        ({"x_train": np.zeros((6, 2, 3), complex)}, "x_train must hold real numbers, not complex"),
        ({"x_test": np.full((2, 2, 3), "a")}, "x_test must hold real numbers, not <U1"),
        ({"x_test": np.full((2, 2, 3), None)}, "x_test must hold real numbers, not object"),
        ({"x_train": np.zeros(6)}, "x_train has shape (6,), not [samples, ...features]"),
        ({"x_train": np.float32(1)}, "x_train has shape (), not [samples, ...features]"),
        ({"x_train": np.zeros((0, 6))}, "x_train has shape (0, 6), not"),
        ({"x_train": np.zeros((6, 0))}, "x_train has shape (6, 0), not"),
        ({"x_test": np.full((2, 2, 3), np.nan)}, "x_test has 12 of 12 values not finite"),
        ({"x_test": np.full((2, 2, 3), -np.inf)}, "x_test has 12 of 12 values not finite"),
        ({"x_test": np.full((2, 2, 3), 1e39)}, "x_test has 12 of 12 values not finite as float32"),
        ({"y_train": np.zeros(6)}, "y_train must hold integer labels, not float64"),
        ({"y_train": np.zeros(6, bool)}, "y_train must hold integer labels, not bool"),
        ({"y_train": np.zeros((6, 1), int)}, "the labels of a sample of y_train have shape (1,)"),
        (
            {"y_train": np.zeros((6, 1, 1), int)},
            "the labels of a sample of y_train have shape (1, ",
        ),
        ({"y_test": np.zeros(0, int)}, "y_test has shape (0,), not [samples] or [samples, posit"),
        ({"x_test": np.ones((2, 2, 3), np.int64)}, "x_train is float64, x_test int64: int64 are"),
        ({"x_train": np.full((6, 2, 3), 7)}, "x_train is int64, x_test int16: int64 are ids"),
        ({"y_test": np.array([0, -1])}, "y_test holds label -1; labels start at 0"),
        ({"y_train": np.full(6, MAX_LABEL + 1)}, "y_train holds label 1048577; the largest"),
        ({"y_train": np.full(6, 2**64 - 1, np.uint64)}, "y_train holds label 18446744073709551615"),
        ({"y_test": np.array([0, 4])}, "y_test holds label 4, but y_train ends at 3"),
        ({"y_train": np.zeros(5, int)}, "x_train has 6 samples, y_train has labels of 5"),
        ({"y_test": np.zeros(3, int)}, "x_test has 2 samples, y_test has labels of 3"),
        ({"x_test": np.zeros((2, 6))}, "a sample of x_train has shape (2, 3), one of x_test (6,)"),
    ],
)
def test_unfit_arrays_are_refused(replaced: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"mine: {message}")):
        checked_dataset("mine", **(GOOD | replaced))


def test_one_bad_value_is_counted() -> None:
    x = np.zeros((6, 2, 3))
    x[4, 1, 2] = np.nan
    with pytest.raises(DataError, match="1 of 36 values"):
        checked_dataset("mine", **(GOOD | {"x_train": x}))
