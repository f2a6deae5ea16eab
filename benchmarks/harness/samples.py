"""The data of a benchmark: one file that every arm reads, as short as the benchmark likes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dni_async.data import load_dataset
from dni_async.errors import ConfigError

__all__ = ["write_samples"]

TEST_SAMPLES = 1000


def write_samples(
    path: Path,
    data: str,
    data_dir: Path | None,
    *,
    max_samples: int,
    batch_size: int,
    num_features: int | None = None,
) -> int:
    """Write the first max_samples of a data set to path (.npz), in whole batches; how many.

    max_samples 0: all of them, and all test samples; else a short test set. num_features: cut
    each sample, or repeat it, to that length. Raises DataError, ConfigError.
    """
    dataset = load_dataset(data, data_dir)
    available = len(dataset.y_train)
    num_train = min(max_samples or available, available)
    if num_train < batch_size:
        raise ConfigError(f"batch_size: {num_train} samples are no batch of {batch_size}")
    num_train -= num_train % batch_size
    num_test = min(TEST_SAMPLES, len(dataset.y_test)) if max_samples else len(dataset.y_test)
    np.savez(
        path,
        x_train=_resized(dataset.decode(dataset.x_train[:num_train]), num_features),
        y_train=dataset.y_train[:num_train],
        x_test=_resized(dataset.decode(dataset.x_test[:num_test]), num_features),
        y_test=dataset.y_test[:num_test],
    )
    return num_train


def _resized(x: NDArray[np.float32], num_features: int | None) -> NDArray[np.float32]:
    if num_features is None:
        return x
    flat = x.reshape(len(x), -1)
    times = -(-num_features // flat.shape[1])
    return np.tile(flat, (1, times))[:, :num_features]
