"""What a function of torch does beside computing: reads values, writes, draws, tells shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["is_random", "is_shape", "is_size", "name_of", "reads", "writes"]

_READS = frozenset(
    [
        "item",
        "tolist",
        "numpy",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "__complex__",
        "__array__",
        "__contains__",
        "is_nonzero",
        "equal",
        "allclose",
    ]
)
_WRITES = frozenset(["__setitem__", "__delitem__", "backward", "retain_grad", "register_hook"])
_RANDOM = frozenset(["bernoulli", "multinomial", "normal", "poisson", "dropout"])


def name_of(function: Callable[..., Any]) -> str:
    """Its name; of a property the property's."""
    name = getattr(function, "__name__", type(function).__name__)
    if name in ("__get__", "__set__"):
        return str(getattr(getattr(function, "__self__", None), "__name__", name))
    return str(name)


def is_shape(function: Callable[..., Any]) -> bool:
    """Whether it gives all sizes of a tensor."""
    return name_of(function) == "shape"


def is_size(function: Callable[..., Any]) -> bool:
    """Whether what it gives follows from the shape of a tensor: size, numel."""
    return name_of(function) in ("size", "numel", "nelement")


def reads(function: Callable[..., Any]) -> bool:
    """Whether it makes a number of Python, or an array, of what is in a tensor."""
    return name_of(function) in _READS


def writes(function: Callable[..., Any]) -> bool:
    """Whether it changes a tensor that it is given, or sets a property of it."""
    name = name_of(function)
    if getattr(function, "__name__", "") == "__set__" or name in _WRITES:
        return True
    in_place = name.startswith("__i") and name.endswith("__") and name != "__invert__"
    return in_place or (name.endswith("_") and not name.endswith("__"))


def is_random(function: Callable[..., Any]) -> bool:
    """Whether it draws random numbers without being given tensors, or may."""
    name = name_of(function)
    return "rand" in name or name in _RANDOM
