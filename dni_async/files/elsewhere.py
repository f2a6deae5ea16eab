"""Where a file goes whose own place does not take it: the temporary folder, by a known name."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dni_async.files.writing import whole

__all__ = ["clear_elsewhere", "elsewhere", "found", "write_somewhere"]


def elsewhere(path: Path) -> Path:
    """What path is called there; all files of one folder lie in one, which is this user's alone."""
    place = os.path.realpath(path.parent)
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"dni-async-{os.getuid()}-{digest}" / path.name


def write_somewhere(path: Path, write: Callable[[Path], object]) -> tuple[Path, str]:
    """Have write make the file at path, or elsewhere if that does not do.

    Gives where it is, and why it is not at path; "" where it is. It is there whole or not at all.
    Raises OSError of the first try if nothing takes it.
    """
    try:
        _write(path, write)
        return path, ""
    except OSError as error:
        other = elsewhere(path)
        try:
            _make_private(other.parent)
            _write(other, write)
            return other, error.strerror or str(error)
        except OSError:
            with suppress(OSError):
                other.parent.rmdir()  # if nothing else is in it
            raise error from None


def found(path: Path) -> Path:
    """Where what belongs at path is: there, or elsewhere if it is only there."""
    if path.exists():
        return path
    other = elsewhere(path)
    is_there = _is_private(other.parent) and other.is_file()
    return other if is_there else path


def clear_elsewhere(path: Path) -> None:
    """Nothing that would lie in path's folder is elsewhere any more."""
    folder = elsewhere(path).parent
    if _is_private(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    from safetensors import SafetensorError

    try:
        with whole(path, writer=str(os.getpid())) as part:
            write(part)
    except SafetensorError as error:  # has what the system said in its text alone
        code = re.search(r"\(os error (\d+)\)", str(error))
        number = 0 if code is None else int(code.group(1))
        raise OSError(number, os.strerror(number) if number else str(error)) from error


def _make_private(folder: Path) -> None:
    """Raises OSError if somebody else has, or could have, put something there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(folder):
        raise PermissionError(f"{folder} is not this user's alone")


def _is_private(folder: Path) -> bool:
    try:
        facts = folder.lstat()
    except OSError:
        return False
    is_closed = not stat.S_IMODE(facts.st_mode) & 0o077
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and is_closed
