"""The data sets that can be asked for by name, and where each is loaded from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from dni_async.config.given import given_folder
from dni_async.config.meant import did_you_mean, did_you_mean_file
from dni_async.config.target_form import CLASSES, Taken
from dni_async.data.dataset import Dataset
from dni_async.data.kept import kept
from dni_async.data.sources.cifar import CIFAR10, load_cifar10
from dni_async.data.sources.digits import load_digits
from dni_async.data.sources.mnist import FASHION_MNIST, MNIST, load_idx
from dni_async.data.sources.npz import read_npz
from dni_async.data.targets import checked_targets
from dni_async.errors import DataError
from dni_async.files.homes import own_path

__all__ = ["DATASET_NAMES", "SOURCES", "load_dataset"]

SOURCES: Final[dict[str, Callable[[Path | None], Dataset]]] = {
    "digits": lambda _: load_digits(),
    MNIST.name: partial(load_idx, MNIST),
    FASHION_MNIST.name: partial(load_idx, FASHION_MNIST),
    CIFAR10: load_cifar10,
}
"""Each is given the folder that the user names for data sets, if any."""

DATASET_NAMES = tuple(SOURCES)
"""Names that load_dataset knows, besides the path of an .npz file."""


def load_dataset(name: str, data_dir: Path | None = None, taken: Taken = CLASSES) -> Dataset:
    """Return the data set called name, or the one in the file if name ends in .npz.

    taken: what the run's loss takes for targets.

    digits comes with scikit-learn: x [N, 64]. mnist and fashion-mnist, x [N, 784], are IDX files
    in data_dir or data_dir/NAME; without data_dir, the same in $DNI_DATA_DIR; where there are
    none, they are downloaded into the user's cache. cifar10, x [N, 3, 32, 32] in [0, 1], is sought
    and downloaded likewise, in its binary or python version. An .npz file holds x_train, y_train,
    x_test and y_test. given is what a caller of dni_async.train gave. Raises DataError for an
    unknown name and for data that is missing or damaged.
    """
    if name in SOURCES:
        found = SOURCES[name](_environment_dir() if data_dir is None else data_dir)
        return found if taken == CLASSES else _retargeted(found, taken)
    if name.endswith(".npz"):
        return read_npz(own_path(name, setting="data"), taken)
    if name == "given":
        return _load_given()
    meant = did_you_mean(name, DATASET_NAMES) or did_you_mean_file(Path(name), "*.npz")
    raise DataError(
        f"data: unknown data set {name!r}: there are {', '.join(DATASET_NAMES)}, files named "
        f"*.npz, and functions, package.module:factory{meant}"
    )


def _retargeted(found: Dataset, taken: Taken) -> Dataset:
    """With its labels as another loss takes them."""
    train, test, form = checked_targets(found.name, found.y_train, found.y_test, taken)
    return dataclasses.replace(
        found,
        y_train=train,
        y_test=test,
        num_classes=form.num_classes,
        ignored=form.ignored,
    )


def _load_given() -> Dataset:
    folder = given_folder()
    found = None if folder is None else kept(folder)
    if found is None:
        raise DataError(
            "data: 'given' stands for arrays that were given to dni_async.train; "
            "name a data set, or a file made of them by numpy.savez"
        )
    return found


def _environment_dir() -> Path | None:
    value = os.environ.get("DNI_DATA_DIR")
    return own_path(value, setting="DNI_DATA_DIR") if value else None
