"""What users write in files of their own and name as ``package.module:name``."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from dni_async.config.meant import did_you_mean, nearest
from dni_async.errors import ConfigError

__all__ = ["find_callable", "is_extension", "is_importing", "make_extension"]

_importing: ContextVar[bool] = ContextVar("importing", default=False)


def is_extension(name: str) -> bool:
    """Whether name has the form ``package.module:name``."""
    return re.fullmatch(r"[^:]+:[^:]+", name) is not None


def is_importing() -> bool:
    """Whether what runs now is being imported by find_callable: it must not start a run."""
    return _importing.get()


def find_callable(setting: str, name: str) -> Callable[..., object]:
    """The callable that ``package.module:name`` names; the current folder is searched last.

    Raises ConfigError, which begins with the setting, when it does not import or is none.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    with _as_import():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise ConfigError(
                f"{setting}: cannot import {module_name!r}: {error!r}{_meant(module_name, error)}"
            ) from error
        found = getattr(module, attribute, None)  # which dni_async.config.given imports for
    if not callable(found):
        near = nearest(attribute, dir(module))
        hint = f"; did you mean {module_name}:{near}?" if near and near != attribute else ""
        raise ConfigError(f"{setting}: {module_name!r} has no callable {attribute!r}{hint}")
    result: Callable[..., object] = found
    return result


def _meant(module_name: str, error: Exception) -> str:
    """The module of the current folder, or of the package, that is named like one not found."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    if not f"{module_name}.".startswith(f"{error.name}."):
        return ""  # what that module imports is missing
    package, _, _ = error.name.rpartition(".")
    folders = getattr(sys.modules.get(package), "__path__", []) if package else [Path.cwd()]
    found = (module.name for module in pkgutil.iter_modules(map(str, folders)))
    prefix = f"{package}." if package else ""
    return did_you_mean(error.name, [prefix + name for name in found])


@contextmanager
def _as_import() -> Iterator[None]:
    token = _importing.set(True)
    try:
        yield
    finally:
        _importing.reset(token)


def make_extension(
    setting: str, name: str, members: Sequence[str], *arguments: Any, **named: Any
) -> Any:
    """What the callable that name names makes of the arguments; it must have these members.

    Raises ConfigError, which begins with the setting.
    """
    make = find_callable(setting, name)
    try:
        made = make(*arguments, **named)
    except Exception as error:
        raise ConfigError(f"{setting}: making {name} raised {error!r}") from error
    missing = [member for member in members if not hasattr(made, member)]
    if missing:
        raise ConfigError(f"{setting}: {name} has no {', '.join(missing)}; see docs/rules.md")
    return made
