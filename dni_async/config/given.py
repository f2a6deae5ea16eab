"""What a caller of dni_async.train gave as objects, on its way to the processes of the run.

Names such as ``dni_async.config.given:rule_Mine`` stand in the run's settings; this module has an
attribute for each. It reads it from the folder that the environment variable DNI_GIVEN names, in
the caller's process and in each one that the run starts. No setting and no message can name a
file, and only this module pickles (docs/decisions/0040).
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dni_async.config.copies import Copies, reduced
from dni_async.errors import ConfigError

__all__ = ["give", "given_folder", "open_folder"]

VARIABLE = "DNI_GIVEN"
PATH_FILE = "path.json"
_NAME = re.compile(r"(data|loss|model|rule|split|synthesizer|optimizer|lr_schedule|metrics)_\w+")


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder of mode 0700 that this process and those it starts meanwhile read from.

    Holds the caller's sys.path, so that all import the same modules; see the launcher's
    bootstrap. The folder is gone when the block ends. Raises ConfigError where there can be none.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="dni-given-"))
    except OSError as error:
        raise ConfigError(
            f"TMPDIR: no temporary folder can be made ({error.strerror}); point TMPDIR at a folder "
            "of yours"
        ) from error
    before = os.environ.get(VARIABLE)
    try:
        path = [str(Path(entry).resolve()) for entry in sys.path]
        (folder / PATH_FILE).write_text(json.dumps(path), encoding="utf-8")
        os.environ[VARIABLE] = str(folder)
        yield folder
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
        shutil.rmtree(folder, ignore_errors=True)


def given_folder() -> Path | None:
    """The folder that this process was given objects in; None if there is none.

    Raises ConfigError if others than this user could have written into it.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    try:
        status = os.lstat(value)
    except OSError as error:
        raise ConfigError(f"{VARIABLE}: {value}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or not _is_private(status):
        raise ConfigError(f"{VARIABLE}: {value} is no folder that is this user's alone (mode 0700)")
    return Path(value)


def give(folder: Path, setting: str, value: object, *, called: str = "") -> str:
    """The ``module:name`` under which every process of the run finds value.

    Its own, if it is imported from a module; else, as in a script or a notebook, it is written
    into folder by value. called: a word that tells it from others of the setting.
    Raises ConfigError, which begins with the setting, if it cannot be.
    """
    own = _own_name(value)
    if own is not None:
        return own
    own_name = getattr(_wrapped(value), "__name__", type(value).__name__)
    name = f"{setting}_{called or re.sub(r'[^0-9A-Za-z_]', '', own_name)}"
    try:
        content = _pickled(value)
    except Exception as error:  # whatever an object's own pickling raises
        remedy = f"put it into a module and give its name, package.module:{own_name}"
        if isinstance(value, Copies):
            remedy = "give a function that makes it"
        elif setting == "data":
            remedy = "give a function in a module that makes it, package.module:name"
        raise ConfigError(
            f"{setting}: {_culprit(value) or own_name} cannot travel to the workers: {error}; "
            f"{remedy}"
        ) from error
    file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
    return f"{__name__}:{name}"


def __getattr__(name: str) -> object:
    """The object that give wrote under this name, made anew. Raises ConfigError."""
    known = _NAME.fullmatch(name)
    if known is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    setting = known[1]
    folder = given_folder()
    if folder is None or not (folder / name).exists():
        raise ConfigError(
            f"{setting}: {__name__}:{name} was an object given to dni_async.train; "
            "to name it here, put it into a module: package.module:name"
        )
    import cloudpickle

    try:
        file = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        reason = error.strerror
        raise ConfigError(f"{setting}: {folder / name} cannot be read: {reason}") from error
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or not _is_private(status):
            raise ConfigError(f"{setting}: {folder / name} is not this user's alone (mode 0600)")
        try:
            value: object = cloudpickle.load(stream)
        except Exception as error:  # whatever an import or an object's own unpickling raises
            raise ConfigError(f"{setting}: {name} cannot be made again: {error!r}") from error
    return value


def _pickled(value: object) -> bytes:
    import cloudpickle  # only for those who give objects

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: object) -> Any:
            how = reduced(obj) if "torch" in sys.modules else NotImplemented
            return super().reducer_override(obj) if how is NotImplemented else how

    stream = io.BytesIO()
    Pickler(stream).dump(value)
    return stream.getvalue()


def _culprit(value: object) -> str | None:
    """The first child of a network that does not travel by itself; None if that is not it."""
    if not isinstance(value, Copies):
        return None
    for name, child in value.network.named_children():
        try:
            _pickled(child)
        except Exception:
            return f"child {name} ({type(child).__name__})"
    return None


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _wrapped(value: object) -> object:
    """What a functools.partial gives arguments to; else value."""
    return value.func if isinstance(value, functools.partial) else value


def _own_name(value: object) -> str | None:
    """Where others can import value from, if it is a class or function of a module."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    found = getattr(sys.modules.get(module), name, None)
    return f"{module}:{name}" if found is value else None
