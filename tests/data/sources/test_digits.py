"""The digits: there without a download, without scikit-learn's import, and always split alike."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dni_async.data import load_dataset
from dni_async.data.sources.digits import packaged_csv, read_csv, read_scikit_learn


def test_shapes_and_scale() -> None:
    digits = load_dataset("digits")
    assert digits.name == "digits"
    assert digits.x_train.shape == (1437, 64)
    assert digits.x_test.shape == (360, 64)
    assert digits.num_classes == 10
    assert abs(float(digits.x_train.mean())) < 1e-3
    assert float(digits.x_train.std()) == pytest.approx(1, abs=1e-3)


def test_the_split_stays_what_it_was() -> None:
    digits = load_dataset("digits")
    assert digits.y_train[:10].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5]
    assert digits.y_test[:10].tolist() == [7, 9, 4, 7, 0, 2, 6, 1, 3, 1]
    assert np.bincount(digits.y_test).tolist() == [31, 35, 39, 33, 44, 29, 40, 40, 28, 41]


def test_every_sample_is_in_one_split() -> None:
    digits = load_dataset("digits")
    pixels, labels = read_scikit_learn()
    both = np.concatenate([digits.x_train, digits.x_test])
    expected = (pixels / 16 - 0.3054) / 0.3759
    assert sorted(both.sum(axis=1)) == pytest.approx(sorted(expected.sum(axis=1)), abs=1e-3)
    assert np.bincount(np.concatenate([digits.y_train, digits.y_test])).tolist() == (
        np.bincount(labels).tolist()
    )


def test_the_packaged_file_holds_what_scikit_learn_loads() -> None:
    path = packaged_csv()
    assert path is not None
    for from_file, from_import in zip(read_csv(path), read_scikit_learn(), strict=True):
        assert np.array_equal(from_file, from_import)


def test_slow_imports_are_left_out() -> None:
    program = (
        "import sys; from dni_async.data import load_dataset; load_dataset('digits');"
        "print([name for name in ('sklearn', 'pooch', 'torch') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
