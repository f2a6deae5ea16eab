"""Tell whether a value of any kind is still what it was, without keeping a copy of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Mapping
from types import FunctionType, MethodType, ModuleType

import numpy as np
import torch

__all__ = ["Print", "fingerprint"]

MAX_DEPTH = 6
MAX_BYTES = 1 << 16  # of a tensor that is compared by its content
_NAMED = (type, FunctionType, MethodType, ModuleType)
_SCALARS = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device)

Print = tuple[object, ...]


def fingerprint(value: object, passed_over: Collection[int] = frozenset(), depth: int = 0) -> Print:
    """What is equal as long as value stays what it is; nested tuples.

    Tensors above 64 KB count as changed when they were written to or are others; of objects the
    attributes are looked at, six levels deep. passed_over: the ids of what is known to change.
    """
    if id(value) in passed_over or depth > MAX_DEPTH or isinstance(value, _NAMED):
        return ("object", id(value))
    if isinstance(value, _SCALARS):
        return (type(value).__name__, repr(value))
    if isinstance(value, torch.Tensor):
        return _of_tensor(value)
    if isinstance(value, np.ndarray | np.generic):
        return ("array", str(value.dtype), value.shape, _digest(value.tobytes()))
    if isinstance(value, torch.Generator):
        return ("generator", _digest(value.get_state().numpy().tobytes()))
    if isinstance(value, random.Random):
        return ("random", hash(value.getstate()))
    if isinstance(value, Mapping):
        items: Collection[object] = [part for pair in value.items() for part in pair]
    elif isinstance(value, Collection):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else list(value)
    else:
        return _of_object(value, passed_over, depth)
    return (type(value).__name__, *(fingerprint(each, passed_over, depth + 1) for each in items))


def _of_tensor(value: torch.Tensor) -> Print:
    shown = ("tensor", str(value.dtype), tuple(value.shape), str(value.device))
    if value.layout != torch.strided or value.numel() * value.element_size() > MAX_BYTES:
        return (*shown, id(value), value._version)
    content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return (*shown, _digest(content.numpy().tobytes()))


def _of_object(value: object, passed_over: Collection[int], depth: int) -> Print:
    """An object by its attributes; numpy's generators, which hide theirs, by their state."""
    if isinstance(value, np.random.Generator):
        return ("generator", repr(value.bit_generator.state))
    if isinstance(value, np.random.RandomState):
        return ("generator", repr(value.get_state(legacy=False)))
    known = frozenset(passed_over) | {id(value)}  # it may hold itself
    attributes = getattr(value, "__dict__", {})
    return ("object", id(value), fingerprint(dict(attributes), known, depth + 1))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
