"""Key pairs of runs: kept in a folder, read by every process; ``rings`` makes those of one run.

CURVE keys of ZeroMQ (RFC 26), each one line of 40 characters (Z85). A folder holds a pair for the
coordinator and one that all workers share, and in ``allowed/`` the public keys that may connect.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dni_async.errors import ConfigError

__all__ = ["KeyPair", "KeyRing", "read_keys", "write_keys"]

Role = Literal["coordinator", "worker"]
_KEY = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\n?")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One end's identity, each key as 40 characters of Z85."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What one process needs: its own pair, who the coordinator is, who may connect to it.

    coordinator, allowed: public keys. An inbox has a pair of its own, made each time.
    """

    own: KeyPair
    coordinator: bytes
    allowed: frozenset[bytes]


def write_keys(folder: Path, *, coordinator: KeyPair, worker: KeyPair) -> None:
    """Make folder (mode 0700) with both pairs (files of mode 0600) and the worker allowed.

    Raises ConfigError when folder exists, so that no key is ever overwritten.
    """
    try:
        folder.mkdir(mode=0o700)
        (folder / "allowed").mkdir(mode=0o700)
        for role, pair in (("coordinator", coordinator), ("worker", worker)):
            _write(folder / f"{role}.public", pair.public)
            _write(folder / f"{role}.secret", pair.secret)
        _write(folder / "allowed" / "worker.public", worker.public)
    except OSError as error:
        raise ConfigError(
            f"keys: {folder}: cannot be made: {error.strerror}; name a new folder"
        ) from error


def read_keys(folder: Path, role: Role) -> KeyRing:
    """The ring of one process. Raises ConfigError for what is missing, damaged or too open.

    Nobody else may put a key there: the folder, ``allowed`` and every file belong to this user, or
    to root, and others cannot write to them.
    """
    _check_folder(folder, may_be_sticky=True)
    _check_folder(folder / "allowed", may_be_sticky=False)
    public = {name: _read(folder / f"{name}.public") for name in ("coordinator", "worker")}
    allowed = frozenset(map(_read, sorted(folder.glob("allowed/*.public"))))
    if not allowed:
        raise ConfigError(f"keys: {folder / 'allowed'} names nobody, so no worker could connect")
    own = KeyPair(public[role], _read(folder / f"{role}.secret", is_secret=True))
    return KeyRing(own, public["coordinator"], allowed)


def _write(path: Path, key: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(key + b"\n")


def _check_folder(path: Path, *, may_be_sticky: bool) -> None:
    """may_be_sticky: others may add files, which are looked at one by one, but replace none."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"keys: {path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"keys: {path} is no folder; dni-launch keys makes one")
    if not (may_be_sticky and status.st_mode & stat.S_ISVTX):
        _check_mode(path, status)
    _check_owner(path, status)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"keys: {path} belongs to user {status.st_uid}, who could let anybody in; it must "
            "belong to this user"
        )


def _check_mode(path: Path, status: os.stat_result) -> None:
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"keys: {path} can be changed by others (mode {stat.S_IMODE(status.st_mode):o}), who "
            f"could let anybody in; chmod go-w {path}, and look at what lies there"
        )


def _read(path: Path, *, is_secret: bool = False) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # which does not wait for a pipe's writer
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            text = file.read(64) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise ConfigError(f"keys: {path}: cannot be read: {error.strerror}") from error
    if is_secret and (status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077):
        raise ConfigError(
            f"keys: {path} is not this user's alone; it must belong to this user, with mode 600"
        )
    _check_owner(path, status)
    _check_mode(path, status)
    if not _KEY.fullmatch(text):
        raise ConfigError(f"keys: {path} holds no key, which is one line of 40 characters")
    return text.rstrip(b"\n")
