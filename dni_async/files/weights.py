"""The files of weights that stages leave, held against what a stage has to leave.

Their names, shapes and dtypes are read from the header, which safetensors holds against the file's
size, so nothing is loaded before it has been checked. Knows no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors

from dni_async.errors import DniError
from dni_async.files.beside import OWN, read_values
from dni_async.files.reading import check_regular

__all__ = ["TensorForm", "WeightsForm", "check_weights", "merged"]

EXTRA: Final = "_extra_state"  # what torch calls a module's own, of any dtype and shape
_ATTRIBUTE: Final = re.compile(r"(?!__)[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class TensorForm:
    """dtype as safetensors names it, such as F32, and shape."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"

    @property
    def size_bytes(self) -> int:
        """Of its numbers in a file."""
        bits = re.search(r"\d+", self.dtype)
        return math.prod(self.shape) * int(bits.group() if bits else 8) // 8


@dataclass(frozen=True, slots=True)
class WeightsForm:
    """What layers hold: tensors by the names of the state dict, and the paths of their modules."""

    tensors: Mapping[str, TensorForm] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()

    @property
    def size_bytes(self) -> int:
        """Of all tensors in a file."""
        return sum(form.size_bytes for form in self.tensors.values())

    def fault_in(self, found: Mapping[str, TensorForm]) -> str | None:
        """The first way in which weights are not those of the layers; None where they are."""
        for name, form in self.tensors.items():
            if name not in found:
                return f"misses {name}"
            if found[name] != form:
                return f"has {name} as {found[name]}, not {form}"
        for name in found:
            path, _, attribute = name.rpartition(".")
            is_extra = attribute == EXTRA and path in self.modules
            if name not in self.tensors and not is_extra:
                return f"has {name}, which is not of its layers"
        return None

    def fault_beside(self, names: Iterable[str], tensors: Iterable[str]) -> str | None:
        """The same of what modules keep beside: names of attributes, and of what these refer to."""
        known = set(names)
        for name in known:
            path, _, attribute = name.rpartition(".")
            if path not in self.modules or not _ATTRIBUTE.fullmatch(attribute):
                return f"has {name}, which is not of its layers"
        for name in tensors:
            if name.rpartition("/")[0] not in known:
                return f"has {OWN}/{name}, which nothing refers to"
        return None


def merged(forms: Iterable[WeightsForm]) -> WeightsForm:
    """Of several layers together."""
    tensors: dict[str, TensorForm] = {}
    modules: set[str] = set()
    for form in forms:
        tensors |= form.tensors
        modules |= form.modules
    return WeightsForm(tensors, frozenset(modules))


def check_weights(path: Path, form: WeightsForm) -> dict[str, Any]:
    """What modules of a stage keep beside the weights in the file at path, as JSON values.

    Raises DniError where the file is none, or is not what layers of this form leave.
    """
    values = read_values(path)
    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            found = {name: _form_of(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise DniError(f"{path}: is no file of weights: {error}") from error
    begin = f"{OWN}/"
    own = [name.removeprefix(begin) for name in found if name.startswith(begin)]
    weights = {name: each for name, each in found.items() if not name.startswith(begin)}
    fault = form.fault_in(weights) or form.fault_beside(values, own)
    if fault:
        raise DniError(f"{path}: {fault}")
    return values


def _form_of(tensor: Any) -> TensorForm:
    return TensorForm(tensor.get_dtype(), tuple(tensor.get_shape()))
