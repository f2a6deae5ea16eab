"""Data in memory: the forms that are taken, and what is said of others."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from dni_async.data.arrays import ARRAY_NAMES, as_arrays
from dni_async.errors import DataError

X, Y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 1, 0])
TX, TY = torch.from_numpy(X), torch.from_numpy(Y)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y, X, Y),
        [TX, TY, TX, TY],
        (TX.requires_grad_(), TY, X.tolist(), Y.tolist()),
        dict(zip(ARRAY_NAMES, (X, Y, X, Y), strict=True)),
        ((X, Y), (X, Y)),
        (TensorDataset(TX, TY), TensorDataset(TX, TY)),
        (TensorDataset(TX, TY), (X, Y)),
        (TX.bfloat16(), TY.int(), TX.half(), TY.to(torch.uint8)),
    ],
)
def test_every_usual_form_is_four_arrays(data: object) -> None:
    arrays = as_arrays(data)
    assert tuple(arrays) == ARRAY_NAMES
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, X if name.startswith("x") else Y)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"x_train": X, "y_test": Y}, "data: misses y_train, x_test; holds x_train, y_test"),
        ((X, Y), "two pairs (training and test) or data sets, but is 2 x ndarray, ndarray"),
        ((X, Y, X), "but is 3 x ndarray, ndarray, ndarray"),
        (X, "but is a ndarray"),
        (TensorDataset(TX, TY), "but is a TensorDataset"),
        ((TX.to_sparse(), TY, TX, TY), "data: x_train is no array: "),
        (([[1], [2, 3]], Y, X, Y), "data: x_train is no array: "),
    ],
)
def test_other_forms_are_refused(data: object, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        as_arrays(data)
