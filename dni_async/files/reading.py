"""Files that anybody may have left, read without waiting for one that is none."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["MAX_NOTE_BYTES", "check_regular", "open_regular", "read_bounded"]

MAX_NOTE_BYTES: Final = 16 << 20
"""Of what says in a few lines what lies beside it: thousands of stages have less."""


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """The file at path, or where a link there leads, to be read.

    Raises OSError, also where there is a pipe, a device or a socket, for which nobody waits.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        _check(path, os.fstat(fd))
        yield file


def read_bounded(path: Path, max_bytes: int = MAX_NOTE_BYTES) -> bytes:
    """All that the file at path holds. Raises OSError, also where it is no file or has more."""
    with open_regular(path) as file:
        size_bytes = min(max_bytes, os.fstat(file.fileno()).st_size)
        content = file.read(size_bytes + 1)  # room for all that may be read is made at once
        if len(content) > size_bytes:  # it has grown
            content += file.read(max_bytes - size_bytes)
    if len(content) > max_bytes:
        raise OSError(None, f"has more than {max_bytes:,} bytes", str(path))
    return content


def check_regular(path: Path) -> None:
    """Raises OSError where there is no file at path, or none of content."""
    _check(path, path.stat())


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "is no regular file", str(path))
