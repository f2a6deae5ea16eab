"""Values from files, flags and messages as the types that settings have."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from dni_async.config.meant import GONE, did_you_mean
from dni_async.errors import ConfigError

__all__ = ["coerce", "listed", "unknown_key"]


def unknown_key(key: str, known: Mapping[str, object]) -> str:
    """The sentence for a key that is no setting, with the nearest valid name."""
    if key in GONE:
        return f"{key}: {GONE[key]}"
    hint = did_you_mean(key, known, near=0.5) or f"; known: {', '.join(sorted(known))}"
    return f"unknown key {key!r}{hint}"


def listed(text: str) -> tuple[str, ...]:
    """The texts that stand between commas; none in an empty one."""
    return tuple(part.strip() for part in text.split(",")) if text.strip() else ()


@functools.cache
def _kinds(annotation: str) -> frozenset[str]:
    """The types that an annotation of a setting names."""
    return frozenset(part.strip() for part in annotation.split("|"))


@functools.cache
def _expected(annotation: str) -> type:
    """What values of a setting are, but for None and those that it names."""
    if annotation.startswith("tuple"):
        return tuple
    kinds = _kinds(annotation)
    return next((each for each in (bool, int, float) if each.__name__ in kinds), str)


def coerce(key: str, value: Any, annotation: str) -> Any:
    """value as the type that annotation names; ints pass for floats, lists for tuples."""
    kinds, expected = _kinds(annotation), _expected(annotation)
    if value is None and "None" in kinds:
        return None
    if isinstance(value, str) and f"Literal[{value!r}]" in kinds:
        return value
    if expected is tuple:
        items = listed(value) if isinstance(value, str) else value
        if isinstance(items, list | tuple) and all(isinstance(item, str) for item in items):
            return tuple(item.strip() for item in items)
        raise ConfigError(f"{key}: must be a list of strings, but is {value!r}")
    if expected is float and type(value) is int and abs(value) < 2**1000:
        value = float(value)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        words = sorted(kind[9:-2] for kind in kinds if kind.startswith("Literal["))
        needed = " or ".join([expected.__name__, *words])
        raise ConfigError(f"{key}: must be {needed}, but is {value!r}")
    return value
