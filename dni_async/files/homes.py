"""Paths in a user's home folder, for users who have none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dni_async.errors import ConfigError

__all__ = ["cache_folder", "own_path"]


def own_path(path: str | os.PathLike[str], *, setting: str) -> Path:
    """The path, with what ~ stands for. Raises ConfigError where that is nothing."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{setting}: {os.fspath(path)} lies in a home folder, and there is none here (HOME is "
            "not set, or no such user is known); write the whole path"
        ) from None


def cache_folder(find: Callable[[str], Path], *, holds: str) -> Path:
    """Where this user keeps what was fetched: find knows, by the name of a program.

    Raises ConfigError where that would be in a home folder, and there is none. holds: what is to
    be kept.
    """
    try:
        return find("dni-async")
    except RuntimeError:
        raise ConfigError(
            f"data_dir: what is fetched of {holds} is kept in the home folder, and there is none "
            "here (HOME is not set, and the user has no entry); set XDG_CACHE_HOME, or name a "
            "folder that holds it by --data-dir"
        ) from None
