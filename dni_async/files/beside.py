"""How what modules keep beside their weights lies in a safetensors file with them.

Its tensors under ``own/NAME``, all else as JSON in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors

from dni_async.errors import DniError
from dni_async.files.reading import check_regular

__all__ = ["METADATA", "OWN", "apart", "read_values"]

OWN = "own"  # kind of the tensors
METADATA = "own"
_Tensor = TypeVar("_Tensor")


def apart(tensors: Mapping[str, _Tensor]) -> tuple[dict[str, _Tensor], dict[str, _Tensor]]:
    """The weights; and what modules keep beside them, by its own name."""
    weights = {name: each for name, each in tensors.items() if not name.startswith(f"{OWN}/")}
    own = {name.removeprefix(f"{OWN}/"): tensors[name] for name in tensors.keys() - weights.keys()}
    return weights, own


def read_values(path: Path) -> dict[str, Any]:
    """The JSON values of a file; none where it has none. Raises DniError if it is no such file."""
    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            values = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise DniError(f"{path}: is no file of weights: {error}") from error
    if not isinstance(values, dict):
        raise DniError(f"{path}: is no file of weights: what lies beside them is no JSON object")
    return values
