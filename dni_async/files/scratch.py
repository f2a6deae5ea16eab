"""The folder of what a run's processes make for a while, and what they leave when killed.

A process of torch's DataLoader that is killed between the making of a tensor's shared memory and
the forgetting of its name leaves that name: once in twenty times where it makes batch on batch.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

__all__ = ["SCRATCH", "Scratch", "make_scratch", "remove_scratch", "use_scratch"]

SCRATCH: Final = "DNI_SCRATCH"
"""The environment variable that names the folder to the processes of a run."""

_SHARED: Final = Path("/dev/shm")
_MARK: Final = "makes-tensors-"
_PARTING_S: Final = 2.0  # for one that has been killed to be gone
_MAX_SOCKET_PATH: Final = 107  # bytes of sun_path on Linux, without the zero behind them
_LONGEST_NAME: Final = len("/stage-999,99.slots")  # of a socket in the folder
_OTHERS: Final = ("XDG_RUNTIME_DIR", "/tmp", "/var/tmp", "/dev/shm")


@dataclass(frozen=True, slots=True)
class Scratch:
    """path: the folder that was made. passed_over: where it could not be, and why; in order."""

    path: str
    passed_over: tuple[tuple[str, str], ...] = ()


def make_scratch() -> Scratch:
    """Make a folder of this user's alone (mode 0700) in which sockets can listen.

    In the place for temporary files (TMPDIR); where sockets cannot be there, as its path is too
    long for their names or no UTF-8, in another. Raises OSError where there is none; its filename
    is the first place, its strerror why not there.
    """
    passed_over: list[tuple[str, str]] = []
    for place in _places():
        try:
            return Scratch(_make_in(place), tuple(passed_over))
        except OSError as error:
            passed_over.append((place, error.strerror or str(error)))
    place, reason = passed_over[0]
    raise OSError(errno.ENOENT, reason, place)


def _places() -> Iterator[str]:
    """Each once, the folder for temporary files first."""
    asked = os.environ.get("TMPDIR")
    with suppress(OSError):  # there is none that can be written to
        asked = tempfile.gettempdir()
    others = [os.environ.get(name, "") if name.isupper() else name for name in _OTHERS]
    yield from dict.fromkeys(filter(os.path.isabs, [asked or "/tmp", *others]))


def _make_in(place: str) -> str:
    """Raises OSError where sockets could not listen, or others than this user come in."""
    folder = tempfile.mkdtemp(prefix="dni-", dir=place)
    try:
        _try_socket(folder)
        status = os.stat(folder)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise OSError(errno.EPERM, "it does not keep folders to one user")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _try_socket(folder: str) -> None:
    try:
        length = len(folder.encode())
    except UnicodeEncodeError:
        raise OSError(errno.EILSEQ, "its name is no UTF-8") from None
    if length + _LONGEST_NAME > _MAX_SOCKET_PATH:
        raise OSError(errno.ENAMETOOLONG, "it is too long for the names of sockets in it")
    os.mknod(f"{folder}/trial", stat.S_IFSOCK | 0o600)  # not every file system has sockets
    os.unlink(f"{folder}/trial")


def use_scratch() -> None:
    """Have this process, which hands tensors to another, make temporary files in the folder.

    It leaves its number there, by which remove_scratch finds what it may leave behind. Without a
    folder nothing is done.
    """
    folder = os.environ.get(SCRATCH)
    if folder:
        tempfile.tempdir = folder
        Path(folder, f"{_MARK}{os.getpid()}").touch()


def remove_scratch(folder: str) -> None:
    """Remove the folder, and the shared memory of those who have used it and are gone."""
    makers = [int(path.name.removeprefix(_MARK)) for path in Path(folder).glob(f"{_MARK}*")]
    for pid in filter(_is_gone, makers):
        for segment in _SHARED.glob(f"torch_{pid}_*"):
            with suppress(OSError):
                segment.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _is_gone(pid: int) -> bool:
    """Whether that process has ended, or does so soon; else another may have its number by now."""
    try:
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            process.wait(_PARTING_S)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return True
