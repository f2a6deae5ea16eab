"""Map-style data sets: read as they are, or refused with the remedy."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from dni_async.data import samples
from dni_async.data.arrays import as_arrays
from dni_async.data.samples import batch_size_of
from dni_async.errors import DataError

X = torch.arange(80.0, dtype=torch.float64).reshape(20, 2, 2)
Y = torch.arange(20) % 3
TENSORS = TensorDataset(X, Y)
OWN_DRAWS = np.random.default_rng(0)  # not one of the global generators


class Made(Dataset[Any]):
    """Samples that a function makes of their index."""

    def __init__(self, sample: Callable[[int], Any], count: int = 20) -> None:
        self.sample, self.count = sample, count

    def __getitem__(self, index: int) -> Any:
        return self.sample(index)

    def __len__(self) -> int:
        return self.count


class Doubled(TensorDataset):
    """A TensorDataset that does not give what its tensors hold."""

    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        return 2 * x, y


class Unmeasured(Made):
    """Has no length."""

    __len__ = None  # type: ignore[assignment]


def drawn(source: Callable[[], float]) -> Made:
    """Samples with something random added to them, seldom."""
    return Made(lambda i: (X[i] + (source() if i == 18 else 0), 0))


def plain(i: int) -> Any:
    """Sample i of TENSORS, as arrays and numbers."""
    return X[i].numpy(), int(Y[i])


@pytest.mark.parametrize(
    "part",
    [
        Made(plain),
        Made(lambda i: [X[i].half(), Y[i]]),
        Subset(Made(plain), range(20)),
    ],
)
def test_samples_come_in_the_data_sets_own_order(part: Any) -> None:
    before = torch.get_rng_state()
    arrays = as_arrays((part, TENSORS))
    np.testing.assert_array_equal(arrays["x_train"], X)
    np.testing.assert_array_equal(arrays["y_train"], Y)
    assert arrays["x_train"].dtype == np.float32
    assert arrays["y_train"].dtype == np.int64
    assert torch.equal(before, torch.get_rng_state())


def test_a_subset_and_a_data_set_that_transforms_are_read_through_their_own_access() -> None:
    arrays = as_arrays((Doubled(X, Y), Subset(TENSORS, [3, 1])))
    np.testing.assert_array_equal(arrays["x_train"], 2 * X)
    np.testing.assert_array_equal(arrays["x_test"], X[[3, 1]])
    np.testing.assert_array_equal(arrays["y_test"], [0, 1])


def test_memory_that_a_data_set_uses_again_is_not_shared() -> None:
    held = np.zeros(2, np.float32)

    def sample(i: int) -> Any:
        held[:] = i
        return held, i

    arrays = as_arrays((Made(sample), TENSORS))
    np.testing.assert_array_equal(arrays["x_train"][:, 0], range(20))


def broken(i: int) -> Any:
    """Fails in the middle."""
    if i == 17:
        raise ValueError("no such file")
    return plain(i)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (drawn(lambda: float(torch.rand(()))), "train part are drawn at random at every reading"),
        (drawn(random.random), "drawn at random at every reading"),
        (drawn(np.random.rand), "drawn at random"),
        (Made(lambda _: (OWN_DRAWS.normal(size=2), 0)), "drawn at random"),
        (Made(broken), "sample 17 of the train part raised ValueError('no such file')"),
        (Made(lambda i: {"x": X[i]}), "sample 0 of the train part is a dict, not (input, target)"),
        (Made(lambda i: (X[i], 0, 1)), "is 3 x Tensor, int, int, not (input, target)"),
        (Made(lambda i: (object(), 0)), "holds a object; give tensors, arrays or numbers"),
        (Made(lambda i: (X[i][: 1 + (i < 19)], 0)), "sample 19 of the train part has float32 [1"),
        (Made(lambda i: (X[i], i / 2 if i else 0)), "has float64 [], but sample 0 int64 []; pad"),
        (Made(plain, 0), "the train part, a Made, has no samples"),
        (Unmeasured(plain), "the train part, a Unmeasured, has no length"),
    ],
)
def test_what_no_arrays_can_stand_for_is_refused(part: Any, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        as_arrays((part, TENSORS))


def test_what_does_not_fit_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_most_bytes", lambda: 1_000_000)
    with pytest.raises(DataError, match=re.escape("50,000 samples of the train part take 0.0")):
        as_arrays((Made(plain, 50_000), TENSORS))


@pytest.mark.parametrize(
    ("data", "size"),
    [
        ((DataLoader(TENSORS, batch_size=8), TENSORS), 8),
        (DataLoader(TENSORS, batch_size=8), 8),
        ((DataLoader(TENSORS, batch_size=None), TENSORS), None),
        ((TENSORS, TENSORS), None),
        ((X, Y, X, Y), None),
        ([], None),
        ("digits", None),
    ],
)
def test_the_batch_size_of_the_training_loader(data: object, size: int | None) -> None:
    assert batch_size_of(data) == size
