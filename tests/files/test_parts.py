"""A file in parts is whole where all of it came in order, and never else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dni_async.files.parts import Assembly, Slice, read_slices

SLICE = 8


def put_together(slices: list[Slice]) -> tuple[bytes, bool]:
    """What a receiver has on disk in the end, and whether it takes that for the file."""
    assembly, content, is_whole = Assembly(), b"", False
    for each in slices:
        place = assembly.take(each.offset, each.data)
        if place != "passed over":
            content = each.data if place == "first" else content + each.data
        is_whole = each.is_last and assembly.is_whole(each.sha256)
    return content, is_whole


@pytest.mark.parametrize("size", [0, 1, SLICE, SLICE + 1, 5 * SLICE])
def test_a_file_comes_as_it_is(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(random.Random(size).randbytes(size))
    slices = list(read_slices(path, SLICE))
    assert [each.is_last for each in slices] == [False] * (len(slices) - 1) + [True]
    assert len(slices) == max(1, -(-size // SLICE))
    assert put_together(slices) == (path.read_bytes(), True)


def test_slices_lost_repeated_or_out_of_turn_never_make_a_whole_file_of_something_else(
    tmp_path: Path,
) -> None:
    """Whatever happens on the way: what counts as whole has the content that was sent."""
    random_ = random.Random(7)
    path, found = tmp_path / "file", {"lost": 0, "repeated": 0, "moved": 0, "whole": 0}
    for _ in range(3000):
        content = random_.randbytes(random_.randrange(6 * SLICE))
        path.write_bytes(content)
        slices = list(read_slices(path, SLICE))
        for _ in range(random_.randrange(3)):
            at = random_.randrange(len(slices)) if slices else 0
            match random_.choice(["lost", "repeated", "moved"]):
                case "lost" if slices:
                    del slices[at]
                    found["lost"] += 1
                case "repeated" if slices:
                    slices.insert(random_.randrange(len(slices) + 1), slices[at])
                    found["repeated"] += 1
                case "moved" if slices:
                    slices.insert(random_.randrange(len(slices)), slices.pop(at))
                    found["moved"] += 1
        made, is_whole = put_together(slices)
        found["whole"] += is_whole
        assert not is_whole or made == content
    assert min(found.values()) > 300, found


def test_a_slice_that_comes_twice_does_no_harm_and_a_new_beginning_mends_a_gap(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(3 * SLICE)))
    first, second, third = read_slices(path, SLICE)
    whole = (path.read_bytes(), True)
    assert put_together([first, second, second, third]) == whole
    assert put_together([first, third])[1] is False
    assert put_together([first, third, first, second, third]) == whole


def test_a_file_that_becomes_shorter_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10_000_000))  # more than is read ahead
    slices = read_slices(path, 1_000_000)
    next(slices)
    path.write_bytes(b"")
    with pytest.raises(OSError, match="became shorter"):
        list(slices)
