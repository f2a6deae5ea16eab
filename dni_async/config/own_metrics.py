"""Metrics as a caller gives them: names, functions, or functions by name; as settings say them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dni_async.config.given import give
from dni_async.errors import ConfigError

__all__ = ["metric_entries"]


def metric_entries(metrics: object, folder: Path) -> tuple[str, ...]:
    """The entries of the setting; functions that no module holds are put into folder.

    metrics: a name, a function, several in a list, or a mapping of names to functions. Raises
    ConfigError.
    """
    if isinstance(metrics, str):
        return tuple(name.strip() for name in metrics.split(","))
    if isinstance(metrics, Mapping):
        return tuple(_named(name, each, folder) for name, each in metrics.items())
    if callable(metrics):
        return (_by_its_own_name(metrics, folder),)
    if not isinstance(metrics, Iterable):
        raise ConfigError(
            "metrics: must be names and functions in a list, or functions by name, but is a "
            f"{type(metrics).__name__}"
        )
    return tuple(
        each if isinstance(each, str) else _by_its_own_name(each, folder) for each in metrics
    )


def _by_its_own_name(metric: Any, folder: Path) -> str:
    name = getattr(metric, "__name__", None) or type(metric).__name__
    if not callable(metric):
        raise ConfigError(f"metrics: each is a name or a function, but one is a {name}")
    if not name.isidentifier() or name == "partial":
        raise ConfigError(
            f"metrics: a {name} has no name to be told by; give functions by name: "
            '{"my-metric": function}'
        )
    return _named(name, metric, folder)


def _named(name: object, metric: object, folder: Path) -> str:
    if isinstance(metric, str):
        return metric if metric == name else f"{name}={metric}"
    if not callable(metric):
        raise ConfigError(
            f"metrics: {name} must be a function of outputs and targets, but is a "
            f"{type(metric).__name__}"
        )
    function: Callable[..., object] = metric
    return f"{name}={give(folder, 'metrics', function, called=_word(str(name)))}"


def _word(name: str) -> str:
    """A name of letters, digits and _ that no other name gives."""
    return "".join(each if each.isalnum() else f"_{ord(each):x}_" for each in name)
