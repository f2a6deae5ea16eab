"""A user's .npz file: it gives a data set or a sentence, whatever its bytes are."""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.data.sources.npz import read_npz
from dni_async.errors import DataError

ARRAYS: dict[str, Any] = {
    "x_train": np.arange(12, dtype=np.float64).reshape(4, 3),
    "y_train": np.array([0, 1, 2, 1], np.uint8),
    "x_test": np.ones((1, 3), np.float16),
    "y_test": np.array([2], np.int16),
}


def packed(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_saved_arrays_come_back(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "mine.npz"
    save(path, **ARRAYS, unused=np.zeros(3))
    dataset = read_npz(path)
    assert dataset.name == str(path)
    assert dataset.num_classes == 3
    assert dataset.x_train.dtype == np.float32
    for name, array in ARRAYS.items():
        assert getattr(dataset, name).tolist() == array.tolist()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_npz(tmp_path / "mine.npz")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04"])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not an \.npz file"):
        read_npz(path)


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with path.open("wb") as file:
        np.save(file, ARRAYS["x_train"])
    with pytest.raises(DataError, match=r"not an \.npz file"):
        read_npz(path)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (["x_train", "y_train", "x_test"], "misses y_test; holds x_train, y_train, x_test"),
        (["x_train"], "misses y_train; holds x_train"),
        ([], "misses x_train, y_train; holds none"),
    ],
)
def test_missing_arrays_are_named(tmp_path: Path, kept: list[str], message: str) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **{name: ARRAYS[name] for name in kept})
    with pytest.raises(DataError, match=re.escape(f"{path}: {message}")):
        read_npz(path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **(ARRAYS | {"x_test": np.array([[None]])}))
    with pytest.raises(DataError, match="cannot read x_test: Object arrays cannot be loaded"):
        read_npz(path)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ARRAYS:
            archive.writestr(f"{name}.npy", "hello")
    with pytest.raises(DataError, match=r"x_train must hold real numbers, not \|S5"):
        read_npz(path)


def test_unfit_arrays_are_refused_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **(ARRAYS | {"y_test": np.array([7])}))
    with pytest.raises(DataError, match=re.escape(f"{path}: y_test holds label 7")):
        read_npz(path)


def test_flipped_data_fails_its_checksum(tmp_path: Path) -> None:
    content = bytearray(packed(ARRAYS))
    content[content.index(ARRAYS["x_train"].tobytes()) + 14] ^= 1
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot read x_train: Bad CRC-32"):
        read_npz(path)


@settings(deadline=None)
@given(
    position=st.integers(0, len(packed(ARRAYS)) - 1), flip=st.integers(1, 255), cut=st.booleans()
)
def test_damaged_bytes_give_data_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, flip: int, cut: bool
) -> None:
    content = bytearray(packed(ARRAYS))
    content[position] ^= flip
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content[:position] if cut else content)
    with contextlib.suppress(DataError):
        read_npz(path)
