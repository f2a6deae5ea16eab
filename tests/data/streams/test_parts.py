"""What a user gives as data, taken apart: arrays where arrays will do, else as it was given."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from dni_async.data import samples
from dni_async.data.streams.parts import Parts, parts_of
from dni_async.errors import DataError
from tests.data.streams.kinds import Augmented, Endless, PassedOver, batches

X, Y = np.arange(24.0).reshape(12, 2), np.arange(12) % 3
PAIR, WHOLE = (X, Y), TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
LOADER = DataLoader(WHOLE, batch_size=4)
MADE = Parts(LOADER, None)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (PAIR,),
        (PAIR, None),
        WHOLE,
        (WHOLE, None),
        Subset(WHOLE, range(12)),
        {"x_train": X, "y_train": Y},
        lambda: (X, Y),
        lambda: WHOLE,
    ],
)
def test_arrays_without_a_test_part(data: Any) -> None:
    arrays = parts_of(data)
    assert isinstance(arrays, dict)
    assert list(arrays) == ["x_train", "y_train"]
    np.testing.assert_array_equal(arrays["x_train"], X)
    np.testing.assert_array_equal(arrays["y_train"], Y)


@pytest.mark.parametrize("data", [(X, Y, X, Y), (PAIR, WHOLE), lambda: (WHOLE, PAIR)])
def test_arrays_with_one(data: Any) -> None:
    arrays = parts_of(data)
    assert isinstance(arrays, dict)
    np.testing.assert_array_equal(arrays["x_test"], X)


LIST, CLASS, ENDLESS, AUGMENTED = batches(3), PassedOver(2), Endless(), Augmented()


@pytest.mark.parametrize(
    ("data", "train", "test"),
    [
        (LOADER, LOADER, None),
        ((LOADER,), LOADER, None),
        ((LOADER, PAIR), LOADER, PAIR),
        ((PAIR, LOADER), PAIR, LOADER),
        ([LOADER, WHOLE], LOADER, WHOLE),
        (LIST, LIST, None),
        ((LIST, None), LIST, None),
        ((CLASS, LIST), CLASS, LIST),
        (ENDLESS, ENDLESS, None),
        ((AUGMENTED, WHOLE), AUGMENTED, WHOLE),
        (lambda: (LOADER, None), LOADER, None),
        (MADE, LOADER, None),
    ],
)
def test_streams_stay_what_they_are(data: Any, train: Any, test: Any) -> None:
    assert parts_of(data) == Parts(train, test)


def test_what_is_too_large_for_arrays_is_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_most_bytes", lambda: 10)
    whole = Subset(WHOLE, range(12))
    assert parts_of(whole) == Parts(whole, None)


def test_a_function_that_is_a_generator_is_the_stream_itself() -> None:
    def made() -> Any:
        yield from batches(2)

    assert parts_of(made) == Parts(made, None)


def raises() -> Any:
    """A factory with a fault."""
    raise ValueError("no such folder")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((batch for batch in batches(1)), "data: the training part is a generator, which can be"),
        ((LOADER, iter(LOADER)), "data: the test part is a _SingleProcessDataLoaderIter"),
        ((None, PAIR), "data: the training part is None; give (training, test)"),
        (raises, "data could not be made:\nTraceback"),
        ((X, Y, X), "data: must be (x_train, y_train, x_test, y_test)"),
        (X, "but is a ndarray"),
    ],
)
def test_what_cannot_be_passed_over_again_is_refused(data: Any, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        parts_of(data)
