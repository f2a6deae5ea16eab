"""The 8 x 8 digits that come with scikit-learn: a data set that is always there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.data.dataset import Dataset, checked_dataset
from dni_async.errors import DataError

__all__ = ["load_digits"]

_NUM_TRAIN = 1437  # of 1797: four fifths
_MAX_PIXEL = 16
_MEAN, _STD = 0.3054, 0.3759  # of the training pixels, scaled to [0, 1]


def load_digits() -> Dataset:
    """Return the digits, always split alike: x [1437 | 360, 64] standardised, y in [0, 10).

    Raises DataError when scikit-learn is not installed.
    """
    csv_path = packaged_csv()
    pixels, labels = read_scikit_learn() if csv_path is None else read_csv(csv_path)
    x = (pixels / _MAX_PIXEL - _MEAN) / _STD
    # RandomState, because numpy froze its streams for good: the split outlives numpy's versions.
    order = np.random.RandomState(0).permutation(len(x))
    train, test = order[:_NUM_TRAIN], order[_NUM_TRAIN:]
    return checked_dataset(
        "digits", x_train=x[train], y_train=labels[train], x_test=x[test], y_test=labels[test]
    )


def packaged_csv() -> Path | None:
    """Return the file that scikit-learn keeps the digits in, or None where it is not as expected.

    Importing scikit-learn takes more than a second; finding it takes a millisecond.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    return path if path.is_file() else None


def read_csv(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return pixels [N, 64] in [0, 16] and labels [N], both uint8, from scikit-learn's file."""
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return table[:, :-1], table[:, -1]


def read_scikit_learn() -> tuple[NDArray[Any], NDArray[Any]]:
    """Return pixels float64 [N, 64] in [0, 16] and labels int64 [N] by importing scikit-learn."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(f"digits: they are part of scikit-learn: {error}") from error
    digits = datasets.load_digits()
    return digits.data, digits.target
