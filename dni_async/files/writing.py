"""Files that appear whole or not at all, whatever moment their writer ends at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dni_async.files.names import partial

__all__ = ["sync_file", "sync_folder", "whole", "write_whole"]


@contextmanager
def whole(path: Path, *, writer: str = "") -> Iterator[Path]:
    """Where to write what appears at path when the block ends well; else nothing of it is left.

    writer: tells this one apart where several may write path at a time. A process that is killed
    leaves nothing at path; a machine that loses power may, see write_whole. What lies where it is
    to be written is removed, so that a link there leads nowhere. Raises OSError.
    """
    part = partial(path, writer)
    part.unlink(missing_ok=True)
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, *content: bytes | memoryview) -> None:
    """Write content to path, one after another; it appears with all of it on disk or not at all.

    Makes path's folder. Raises OSError, and then leaves nothing of the file.
    """
    os.makedirs(path.parent, exist_ok=True)
    with whole(path) as part:
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            for each in content:
                left = memoryview(each)
                while left:
                    left = left[os.write(file, left) :]
            os.fsync(file)
        finally:
            os.close(file)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Have the content of path on disk. Raises OSError."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(folder: Path) -> None:
    """Have the names in folder on disk. Raises OSError."""
    sync_file(folder)
