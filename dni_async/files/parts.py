"""A file in parts: how it is read for the way, and whether all of it has come.

A part carries where it lies in the file, and the last one the sha256 of the whole. So a part that
is lost, comes twice or out of turn is noticed by whoever puts the file together.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Assembly", "Place", "Slice", "read_slices"]

Place = Literal["first", "next", "passed over"]


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes of a file that lie at offset; sha256: of the whole file, with the last of them."""

    offset: int
    data: bytes
    is_last: bool
    sha256: str


class Assembly:
    """What has come of one file; who asks writes it down. No I/O.

    A slice at 0 begins the file, perhaps anew. One that does not follow on what has come leaves a
    gap, and nothing but a new beginning mends that.
    """

    def __init__(self) -> None:
        self._size_bytes = 0
        self._digest = hashlib.sha256()
        self._has_gap = False

    def take(self, offset: int, data: bytes) -> Place:
        """Where data belongs: at the file's beginning, behind what has come, or nowhere."""
        if offset == 0:
            self._size_bytes, self._digest, self._has_gap = 0, hashlib.sha256(), False
        elif offset != self._size_bytes or self._has_gap:
            is_known = offset + len(data) <= self._size_bytes
            self._has_gap = self._has_gap or not is_known
            return "passed over"
        self._size_bytes += len(data)
        self._digest.update(data)
        return "next" if offset else "first"

    def is_whole(self, sha256: str) -> bool:
        """Whether what has come is the file that has this sha256, in hexadecimal."""
        return not self._has_gap and self._digest.hexdigest() == sha256


def read_slices(path: Path, slice_bytes: int) -> Iterator[Slice]:
    """A file from its beginning; one without content is one empty slice.

    Raises OSError, also where the file becomes shorter meanwhile.
    """
    digest, offset = hashlib.sha256(), 0
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        while True:
            data = file.read(min(slice_bytes, size_bytes - offset))
            if not data and offset < size_bytes:
                raise OSError(None, "became shorter while it was read")
            digest.update(data)
            is_last = offset + len(data) == size_bytes
            yield Slice(offset, data, is_last, digest.hexdigest() if is_last else "")
            if is_last:
                return
            offset += len(data)
