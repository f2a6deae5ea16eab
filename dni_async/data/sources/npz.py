"""A user's own data set, from the four arrays of an .npz file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.config.meant import did_you_mean_file
from dni_async.config.target_form import CLASSES, Taken
from dni_async.data.arrays import ARRAY_NAMES
from dni_async.data.dataset import Dataset, checked_dataset
from dni_async.errors import DataError

__all__ = ["read_npz"]


def read_npz(path: Path, taken: Taken = CLASSES) -> Dataset:
    """Return the data set in an .npz file with x_train, y_train and, to test on, x_test, y_test.

    taken: by the loss. Shapes and dtypes as in checked_dataset: int64 samples are ids, any other
    number type is cast. Other arrays in the file are left alone, and nothing is unpickled. Raises
    DataError, whatever the bytes of the file are.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file{did_you_mean_file(path, '*.npz')}")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not an .npz file (write one with numpy.savez)")
    arrays = _read_arrays(path)
    has_test = any(name in arrays for name in ARRAY_NAMES[2:])
    names = ARRAY_NAMES if has_test else ARRAY_NAMES[:2]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(f"{path}: misses {', '.join(missing)}; holds {', '.join(arrays) or 'none'}")
    return checked_dataset(str(path), **arrays, taken=taken)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    reading = "its list of files"
    try:
        arrays = {}
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for reading in (name for name in ARRAY_NAMES if name in archive):
                # A member that is no array comes back as bytes, whose dtype is refused later.
                arrays[reading] = np.asarray(archive[reading])
    except Exception as error:
        # Damaged bytes surface as more kinds of error than numpy and zipfile document, among them
        # MemoryError for an invented shape and NotImplementedError for an invented compression.
        raise DataError(f"{path}: cannot read {reading}: {error}") from error
    return arrays
