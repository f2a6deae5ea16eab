"""Parts of frames: joined, they are the frames that were cut, whatever their sizes."""

from __future__ import annotations

import pytest

from dni_async.transport.frame_parts import PART_BYTES, join_parts, split_frame

SIZES = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES + 7]


@pytest.mark.parametrize("first", SIZES)
@pytest.mark.parametrize("second", SIZES)
def test_what_was_cut_is_joined_again(first: int, second: int) -> None:
    frames = [b"a" * first, b"b" * second, b"tail"]
    parts = [memoryview(part) for frame in frames for part in split_frame(frame)]
    assert max(part.nbytes for part in parts) <= PART_BYTES
    assert [bytes(frame) for frame in join_parts(parts)] == frames


def test_small_frames_are_not_copied() -> None:
    frame = memoryview(bytearray(b"small"))
    assert split_frame(frame) == [frame]
    assert join_parts([frame])[0] is frame


def test_parts_without_an_end_are_frames() -> None:
    """So that the wire refuses them for their number or length, as it does all else."""
    parts = [memoryview(bytes(PART_BYTES))] * 2
    assert join_parts(parts) == parts
