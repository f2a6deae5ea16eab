"""What users write in files of their own and name as ``package.module:name``."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

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
            raise ConfigError(f"{setting}: cannot import {module_name!r}: {error!r}") from error
        found = getattr(module, attribute, None)  # which dni_async.config.given imports for
    if not callable(found):
        near = difflib.get_close_matches(attribute, dir(module), n=1, cutoff=0.7)
        hint = f"; did you mean {module_name}:{near[0]}?" if near and near[0] != attribute else ""
        raise ConfigError(f"{setting}: {module_name!r} has no callable {attribute!r}{hint}")
    result: Callable[..., object] = found
    return result


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
