"""Arrays of a caller's in files: what comes back, and that nobody holds a copy of it."""

from __future__ import annotations

import dataclasses
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dni_async.data.dataset import Dataset, checked_dataset
from dni_async.data.inputs import Inputs
from dni_async.data.kept import keep, kept

BYTES = np.arange(24, dtype=np.uint8).reshape(6, 4)


@pytest.mark.parametrize(
    "arrays",
    [
        {
            "x_train": BYTES / 2,
            "y_train": np.arange(6),
            "x_test": BYTES / 3,
            "y_test": np.arange(6),
        },
        {"x_train": BYTES, "y_train": np.arange(6), "x_test": BYTES, "y_test": np.arange(6)},
        {"x_train": BYTES.astype(np.int64), "y_train": np.arange(6)},
    ],
)
def test_a_data_set_comes_back_whole(tmp_path: Path, arrays: dict[str, Any]) -> None:
    dataset = checked_dataset("given", **arrays)
    assert kept(tmp_path) is None
    keep(dataset, tmp_path)
    again = kept(tmp_path)
    assert again is not None
    for each in dataclasses.fields(Dataset):
        np.testing.assert_array_equal(getattr(again, each.name), getattr(dataset, each.name))
        assert type(getattr(again, each.name)) is type(getattr(dataset, each.name))


def test_batches_are_read_from_the_file_and_may_be_written_to(tmp_path: Path) -> None:
    x = np.ones((4, 3), np.float32)
    keep(checked_dataset("given", x_train=x, y_train=np.zeros(4, int), x_test=x,
                         y_test=np.zeros(4, int)), tmp_path)  # fmt: skip
    dataset = kept(tmp_path)
    assert dataset is not None
    assert isinstance(dataset.x_train.base, np.memmap | mmap.mmap)
    inputs = Inputs(dataset, batch_size=2, seed=0)
    for batch in (inputs.train_batch(1, 0), inputs.test_batch(0)):
        batch[0].zero_()
    again = kept(tmp_path)
    assert again is not None
    np.testing.assert_array_equal(again.x_train, x)
    np.testing.assert_array_equal(again.x_test, x)
