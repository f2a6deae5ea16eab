"""The folder that a worker from elsewhere writes in, and in no other."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dni_async.errors import ConfigError

__all__ = ["own_folder"]

_PREFIX: Final = "dni-worker-"
_YOUNG: Final = "dni-new-worker-"  # not locked yet


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder of mode 0700 among temporary files, gone when the block ends.

    What workers left that were killed is removed first: this user's, and locked by nobody. Raises
    ConfigError where none can be made.
    """
    try:
        folder, lock = _made(Path(tempfile.gettempdir()))
    except OSError as error:
        raise ConfigError(
            f"TMPDIR: a worker's files cannot be written: {error.strerror}; name a folder that "
            "this user may write in"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made(place: Path) -> tuple[Path, int]:
    """The folder, and the descriptor that locks it. Raises OSError."""
    _remove_left(place)
    name = secrets.token_hex(8)
    young, folder = place / f"{_YOUNG}{name}", place / f"{_PREFIX}{name}"
    young.mkdir(mode=0o700)
    lock = os.open(young, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    young.rename(folder)
    return folder, lock


def _remove_left(place: Path) -> None:
    for path in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
