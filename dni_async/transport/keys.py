"""Key pairs for links that leave the host: made once, kept in a folder, read by every process.

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
    """What one process needs: its own pair, whom it connects to, who may connect to it.

    coordinator, worker: public keys, of the control socket and of every inbox.
    """

    own: KeyPair
    coordinator: bytes
    worker: bytes
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
    """The ring of one process. Raises ConfigError for what is missing, damaged or too open."""
    public = {name: _read(folder / f"{name}.public") for name in ("coordinator", "worker")}
    allowed = frozenset(map(_read, sorted(folder.glob("allowed/*.public"))))
    if not allowed:
        raise ConfigError(f"keys: {folder / 'allowed'} names nobody, so no worker could connect")
    own = KeyPair(public[role], _read(folder / f"{role}.secret", is_secret=True))
    return KeyRing(own, public["coordinator"], public["worker"], allowed)


def _write(path: Path, key: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(key + b"\n")


def _read(path: Path, *, is_secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(64)
    except OSError as error:
        raise ConfigError(f"keys: {path}: cannot be read: {error.strerror}") from error
    if is_secret and (status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077):
        raise ConfigError(
            f"keys: {path} is not this user's alone; it must belong to this user, with mode 600"
        )
    if not _KEY.fullmatch(text):
        raise ConfigError(f"keys: {path} holds no key, which is one line of 40 characters")
    return text.rstrip(b"\n")
