"""Where a loader of the user's own says it is, as plain values that a checkpoint can hold."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch

__all__ = ["decoded", "encoded"]


def encoded(value: Any) -> Any:
    """A state_dict as JSON values: numbers, texts, None, bytes, tensors, arrays, and lists, tuples
    and dicts of them. Raises TypeError for all else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [encoded(each) for each in value]
    if isinstance(value, tuple):
        return {"tuple": [encoded(each) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[encoded(key), encoded(each)] for key, each in value.items()]}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, torch.Tensor):
        return {"tensor": encoded(value.detach().cpu().numpy())}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return {"array": [value.dtype.str, list(value.shape), encoded(value.tobytes())]}
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def decoded(value: Any) -> Any:
    """What encoded was given."""
    if isinstance(value, list):
        return [decoded(each) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "tuple":
        return tuple(decoded(each) for each in held)
    if kind == "dict":
        return {decoded(key): decoded(each) for key, each in held}
    if kind == "bytes":
        return base64.b64decode(held)
    if kind == "tensor":
        return torch.from_numpy(decoded(held))
    dtype, shape, content = held
    return np.frombuffer(decoded(content), np.dtype(dtype)).reshape(shape).copy()
