"""IDX files: any bytes give an array or an error that names the file and its numbers."""

from __future__ import annotations

import contextlib
import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.data.sources.idx import read_idx
from dni_async.errors import DataError

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
CONTENT = struct.pack(">4I", 0x0803, 2, 3, 4) + IMAGES.tobytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("images", CONTENT),
        ("images.gz", gzip.compress(CONTENT, mtime=0)),
        ("unpacked-by-a-browser.gz", CONTENT),
        ("packed-without-saying", gzip.compress(CONTENT, mtime=0)),
    ],
)
def test_gzipped_or_plain(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    images = read_idx(path, num_dims=3)
    assert images.dtype == np.uint8
    assert images.tolist() == IMAGES.tolist()


def test_labels_have_one_dimension(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(struct.pack(">2I", 0x0801, 3) + b"\x07\x00\x09")
    assert read_idx(path, num_dims=1).tolist() == [7, 0, 9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes, its header alone needs 16"),
        (CONTENT[:15], "has 15 bytes, its header alone needs 16"),
        (CONTENT[:-1], "has 39 bytes, its header says 40 (shape [2, 3, 4])"),
        (CONTENT + b"\0", "has 41 bytes, its header says 40 (shape [2, 3, 4])"),
        (
            struct.pack(">4I", 0x0803, *[2**32 - 1] * 3),
            "has 16 bytes, its header says 79228162458924105385300197391",
        ),
        (
            b"\0\0\x0d\x03" + CONTENT[4:],
            "starts with 0x00000d03, but IDX bytes in 3 dimension(s) start with 0x00000803",
        ),
        (b"\0\0\x08\x01" + CONTENT[4:], "starts with 0x00000801"),
        (struct.pack(">4I", 0x0803, 0, 28, 28), "is empty (shape [0, 28, 28])"),
        (struct.pack(">4I", 0x0803, 2**32 - 1, 0, 2**32 - 1), "is empty (shape [4294967295, 0,"),
        (gzip.compress(CONTENT, mtime=0)[:-9], "cannot be read: Compressed file ended"),
        (gzip.compress(CONTENT, mtime=0)[:-8] + bytes(8), "cannot be read: CRC check failed"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 20, "cannot be read: Error -3"),
        (b"\x1f\x8b\xff", "cannot be read: "),
    ],
)
def test_bad_bytes(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path}: {message}")):
        read_idx(path, num_dims=3)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*No such file"):
        read_idx(tmp_path / "images", num_dims=3)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: CONTENT[:4] + tail))
def test_any_bytes_give_an_array_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        images = read_idx(path, num_dims=3)
        assert images.nbytes == len(content) - 16
