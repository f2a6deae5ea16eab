"""Data sets by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dni_async.data
from dni_async.data import DATASET_NAMES, load_dataset
from dni_async.errors import DataError


def test_public_names() -> None:
    assert dni_async.data.__all__ == ["DATASET_NAMES", "Dataset", "batch_order", "load_dataset"]
    assert DATASET_NAMES == ("digits", "mnist", "fashion-mnist", "cifar10")


@pytest.mark.parametrize("name", ["", "Digits", "cifar", "mine.npy", "mnist/"])
def test_unknown_name(name: str) -> None:
    with pytest.raises(DataError, match="there are digits, mnist, fashion-mnist, cifar10, files"):
        load_dataset(name)


def test_npz_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.zeros((2, 5)), np.array([0, 1])
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (str(tmp_path / "mine.npz"), "mine.npz", "~/mine.npz"):
        assert load_dataset(name).num_features == 5
