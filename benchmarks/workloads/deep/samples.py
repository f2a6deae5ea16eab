"""What deep networks learn here: CIFAR's images, Python's own reference, MNIST's digits.

Always the same training samples; beside them those that settings are chosen on, which are held out
of training, or those of the test, which nothing is chosen on.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.workloads.deep.networks import add_examples
from benchmarks.workloads.users.images import drawn, pixels
from dni_async.data import load_dataset
from dni_async.errors import ConfigError

__all__ = ["HeldOut", "Kind", "write"]

Kind = Literal["images", "text", "digits"]
HeldOut = Literal["tuning", "test"]
Arrays = dict[str, NDArray[np.generic]]
NUM_TUNING = 1000


def write(
    path: Path,
    kind: Kind,
    held_out: HeldOut,
    *,
    data_dir: Path | None = None,
    most: tuple[int | None, int | None] = (None, None),
    may_draw: bool = False,
) -> None:
    """Write them where a run reads them, an .npz file.

    most: of the training samples, and of those that are held out. may_draw: where the files of
    images or digits are missing, other samples of the same shape. Raises ConfigError, DataError.
    """
    folder = data_dir or Path(os.environ.get("DNI_DATA_DIR") or ".")
    arrays = MAKERS[kind](path, held_out, folder, may_draw)
    for name, array in arrays.items():
        arrays[name] = array[: most[name.endswith("test")]]
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _images(_path: Path, held_out: HeldOut, folder: Path, may_draw: bool) -> Arrays:
    file = folder / "cifar" / "cifar_small.npz"
    if not file.is_file():
        if not may_draw:
            raise ConfigError(f"data_dir: there is no {file}; name the folder with --data-dir")
        x, y = drawn(2 * NUM_TUNING, seed=0)
        return _divided(x.numpy(), y.numpy())
    with np.load(file) as held:
        arrays = _divided(pixels(held["x_train"]).numpy(), held["y_train"])
        if held_out == "test":
            arrays |= {"x_test": pixels(held["x_test"]).numpy(), "y_test": held["y_test"]}
    return arrays


def _digits(_path: Path, held_out: HeldOut, folder: Path, may_draw: bool) -> Arrays:
    dataset = load_dataset("digits" if may_draw else "mnist", folder)
    x = dataset.decode(dataset.x_train).reshape(len(dataset.x_train), -1)
    if may_draw:
        return _divided(np.resize(x, (len(x), 784)), dataset.y_train)
    arrays = _divided(x, dataset.y_train)
    if held_out == "test":
        x_test = dataset.decode(dataset.x_test).reshape(len(dataset.x_test), -1)
        arrays |= {"x_test": x_test, "y_test": dataset.y_test}
    return arrays


def _text(path: Path, held_out: HeldOut, _folder: Path, _may_draw: bool) -> Arrays:
    add_examples()
    importlib.import_module("transformer").write_data(path, held_out=held_out)
    with np.load(path) as held:
        return dict(held)


def _divided(x: NDArray[np.generic], y: NDArray[np.generic]) -> Arrays:
    """The last NUM_TUNING samples, or half, are held out of training."""
    cut = max(len(x) - NUM_TUNING, len(x) // 2)
    return {"x_train": x[:cut], "y_train": y[:cut], "x_test": x[cut:], "y_test": y[cut:]}


MAKERS: dict[Kind, Callable[[Path, HeldOut, Path, bool], Arrays]] = {
    "images": _images,
    "text": _text,
    "digits": _digits,
}
