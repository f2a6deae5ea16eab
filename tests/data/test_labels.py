"""Labels in other forms than class numbers: what they are taken for, and what is said of others."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dni_async.data.labels import as_class_labels
from dni_async.errors import DataError

CLASSES = np.array([0, 2, 1, 0])
ONE_HOT = np.eye(3, dtype=np.int64)[CLASSES]
FEATURES = np.ones((4, 5), np.float32)


def arrays(y: NDArray[Any], x: NDArray[Any] = FEATURES) -> dict[str, NDArray[Any]]:
    """The same samples for training and test."""
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y}


@pytest.mark.parametrize(
    "y",
    [
        CLASSES,
        CLASSES[:, None],
        ONE_HOT,
        ONE_HOT.astype(np.uint8),
        ONE_HOT.astype(np.float32),
        ONE_HOT.astype(np.float64),
        ONE_HOT == 1,
    ],
)
def test_every_form_is_the_same_classes(y: NDArray[Any]) -> None:
    made = as_class_labels(arrays(y))
    for name in ("y_train", "y_test"):
        assert made[name].dtype == np.int64
        np.testing.assert_array_equal(made[name], CLASSES)
    assert made["x_train"] is FEATURES


@pytest.mark.parametrize("kind", [bool, np.float32, np.int32])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_zeros_and_ones_are_two_classes(kind: type, shape: tuple[int, ...]) -> None:
    y = np.array([0, 1, 1, 0], kind).reshape(shape)
    np.testing.assert_array_equal(as_class_labels(arrays(y))["y_test"], [0, 1, 1, 0])


@pytest.mark.parametrize(
    ("y", "x"),
    [
        (np.array([[0, 2, 1]] * 4), FEATURES),
        (ONE_HOT, np.ones((4, 3, 8), np.float32)),  # one of three positions is marked
        (ONE_HOT, np.ones((4, 3), np.int64)),
        (np.array([[1, 1, 0]] * 4), FEATURES),
    ],
)
def test_labels_of_positions_stay(y: NDArray[Any], x: NDArray[Any]) -> None:
    assert as_class_labels(arrays(y, x))["y_train"] is y


def test_test_labels_that_are_class_numbers_go_with_one_hot_training_labels() -> None:
    made = as_class_labels({**arrays(ONE_HOT), "y_test": CLASSES})
    np.testing.assert_array_equal(made["y_train"], CLASSES)
    np.testing.assert_array_equal(made["y_test"], CLASSES)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.array([0.5, 1, 2, 0]), "integer labels, not float64 numbers [4]; give class labels as"),
        (np.array([[0.5], [1], [2], [0]]), "not float64 numbers [4]; give class labels as"),
        (np.array([[np.nan, 1.0]] * 4), "integer labels, not float64 numbers [4, 2]"),
        (np.array([[1.0, 1.0, 0.0]] * 4), "has not exactly one 1; give one class number for each"),
        (np.array([[False, False]] * 4), "a row of bool [4, 2] has not exactly one 1"),
    ],
)
def test_other_targets_are_refused_with_the_remedy(y: NDArray[Any], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        as_class_labels(arrays(y))
