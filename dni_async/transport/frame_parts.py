"""Large frames in parts, for sockets that take no large frames from strangers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dni_async.wire.codec import Buffer

__all__ = ["PART_BYTES", "join_parts", "split_frame"]

PART_BYTES: Final = 256 * 1024


def split_frame(frame: Buffer) -> list[Buffer]:
    """A frame in parts of PART_BYTES; the first part that is shorter is its last, even if empty.

    So that a socket takes no large frames from anybody: before ZeroMQ knows who has connected it
    holds a whole frame in memory, whatever the announced length.
    """
    if len(frame) < PART_BYTES:
        return [frame]
    view = memoryview(frame)
    return [view[at : at + PART_BYTES] for at in range(0, len(view) + 1, PART_BYTES)]


def join_parts(parts: Sequence[memoryview]) -> list[memoryview]:
    """The frames that were cut; what comes after the last end is a frame too."""
    frames: list[memoryview] = []
    begun: list[memoryview] = []
    for part in parts:
        begun.append(part)
        if part.nbytes < PART_BYTES:
            frames.append(part if len(begun) == 1 else memoryview(bytearray().join(begun)))
            begun = []
    return frames + begun
