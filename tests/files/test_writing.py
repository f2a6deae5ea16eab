"""Files that are whole or not there, however their writing ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from dni_async.files.writing import whole, write_whole


def names(folder: Path) -> list[str]:
    """What lies there."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_its_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("older")
    with whole(path) as part:
        part.write_text("newer")
        assert path.read_text() == "older"
    assert path.read_text() == "newer"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    path.write_text("older")

    def write_half() -> None:
        with whole(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "older"
    assert names(tmp_path) == ["file"]


def test_two_writers_of_one_file_are_not_in_each_other_s_way(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole(path, writer="1") as one:
        one.write_text("one")
        with whole(path, writer="2") as two:
            two.write_text("two")
        assert path.read_text() == "two"
    assert path.read_text() == "one"
    assert names(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_nothing_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "taken", b"content")
    assert names(tmp_path) == ["taken"]


def test_content_is_written_one_after_another_into_a_folder_that_is_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "deep" / "file", b"one", memoryview(b"two"))
    assert (tmp_path / "deep" / "file").read_bytes() == b"onetwo"
