"""Arrays that a caller gave, in files that the processes of its run map: nobody holds a copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dni_async.data.dataset import Dataset

__all__ = ["keep", "kept"]

_FACTS: Final = "data.json"
_ARRAYS: Final = ("x_train", "y_train", "x_test", "y_test", "byte_values")


def keep(dataset: Dataset, folder: Path) -> None:
    """Write dataset, checked as it is, into folder, which others cannot write into."""
    for name in _ARRAYS:
        array = getattr(dataset, name)
        if array is not None:
            np.save(_path(folder, name), array, allow_pickle=False)
    facts = {"num_classes": dataset.num_classes, "ignored": dataset.ignored}
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def kept(folder: Path) -> Dataset | None:
    """What was written there, under the name given; None if nothing was.

    Its arrays are pages of the files, read when they are looked at and shared by all that do. They
    can be written to, which changes neither the files nor what others see.
    """
    if not (folder / _FACTS).exists():
        return None
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    arrays = {name: _mapped(_path(folder, name)) for name in _ARRAYS}
    return Dataset(name="given", **arrays, **facts)


def _path(folder: Path, name: str) -> Path:
    return folder / f"data-{name}.npy"


def _mapped(path: Path) -> Any:
    """The array in the file; one without a number, which cannot be mapped, is read."""
    if not path.exists():
        return None
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError:
        array = np.load(path, allow_pickle=False)
    return np.asarray(array)
