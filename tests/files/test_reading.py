"""Only files are read, and nobody waits for what is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dni_async.files.reading import check_regular, open_regular, read_bounded


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"12345")
    link.symlink_to(path)
    assert read_bounded(path, 5) == read_bounded(link, 5) == b"12345"
    with pytest.raises(OSError, match="has more than 4 bytes"):
        read_bounded(path, 4)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "missing")


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: Path(path).symlink_to("/dev/zero"),
        lambda path: Path(path).symlink_to("/dev/null"),
    ],
    ids=["pipe", "folder", "zero", "null"],
)
def test_what_is_no_file_is_told_at_once(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    make(path)
    for read in (read_bounded, check_regular):
        with pytest.raises(OSError, match=r"is no regular file|Is a directory"):
            read(path)
    with pytest.raises(OSError), open_regular(path):  # noqa: PT011
        pytest.fail("was opened")
