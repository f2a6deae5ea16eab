"""Whose a run directory is, and that nothing in it leads elsewhere.

A run directory may have been made by somebody else, and come as an archive. What is named in its
settings is imported; what a run writes and removes there must lie there.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dni_async.errors import ConfigError
from dni_async.files import names

__all__ = ["check_contents", "check_owner", "check_places"]

_FOLDERS: Final = frozenset(
    {
        names.CHECKPOINTS, names.LOGS, names.PROFILE, names.EVENTS, names.WEIGHTS,
        names.TENSORBOARD, names.WANDB,
    }
)  # fmt: skip
_OF_OTHERS: Final = frozenset({names.TENSORBOARD, names.WANDB})  # who make links there themselves


def check_places(run_dir: Path) -> None:
    """Raises ConfigError where what a run writes there would go elsewhere, or has no room."""
    for name in names.OF_RUN:
        path = run_dir / name
        try:
            mode = path.lstat().st_mode
        except OSError:  # it is not there
            continue
        if stat.S_ISLNK(mode):
            raise ConfigError(
                f"run_dir: {path} is a symbolic link, and a run would write and remove files where "
                "it leads; remove the link, or keep the whole run there and link that"
            )
        if name in _FOLDERS and not stat.S_ISDIR(mode):
            raise ConfigError(f"run_dir: {path} is no folder, which a run needs; move it away")
        if name not in _FOLDERS and not stat.S_ISREG(mode):
            raise ConfigError(f"run_dir: {path} is no file, which a run writes; move it away")


def check_contents(run_dir: Path) -> None:
    """Raises ConfigError for a run that this user had better not go on with.

    One that is another user's, or holds what is, and one with links, pipes or devices among its
    files.
    """
    check_owner(run_dir, "a run that goes on runs the code that its settings name")
    check_places(run_dir)
    for entry in _entries(run_dir):
        status = entry.stat(follow_symlinks=False)
        if not _is_ours(status.st_uid, run_dir):
            raise _foreign(Path(entry.path), status.st_uid, "it may have been put there")
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "a pipe or a device"
            raise ConfigError(
                f"run_dir: {entry.path} is {kind}, which no run leaves there; remove it, if you "
                "trust the rest"
            )


def check_owner(run_dir: Path, why: str) -> None:
    """Raises ConfigError where run_dir is another user's. why: that matters, for people."""
    try:
        owner = run_dir.stat().st_uid
    except OSError as error:
        raise ConfigError(f"run_dir: {run_dir}: {error.strerror}") from error
    if not _is_ours(owner, run_dir):
        raise _foreign(run_dir, owner, why)


def _is_ours(owner: int, run_dir: Path) -> bool:
    """Whether that is this user, or root; or who this user is there, as on some file servers."""
    if owner in (os.geteuid(), 0):
        return True
    try:
        with tempfile.TemporaryFile(dir=run_dir) as file:
            return os.fstat(file.fileno()).st_uid == owner
    except OSError:
        return False


def _foreign(path: Path, owner: int, why: str) -> ConfigError:
    return ConfigError(
        f"run_dir: {path} belongs to user {owner}, and {why}; if you trust them, make it yours: "
        "cp -r makes a copy that is"
    )


def _entries(run_dir: Path) -> Iterator[os.DirEntry[str]]:
    """What a run has left, and what its writing has left half done, at every depth."""
    with os.scandir(run_dir) as found:
        for entry in found:
            is_of_run = entry.name in names.OF_RUN or entry.name.endswith(names.PART)
            if is_of_run or entry.name.startswith(names.earlier_events("")):
                yield entry
                if entry.name not in _OF_OTHERS and entry.is_dir(follow_symlinks=False):
                    yield from _beneath(entry.path)


def _beneath(path: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as found:
        for entry in found:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _beneath(entry.path)
