"""The order in which an epoch draws its samples, as batches of indices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["batch_order"]


def batch_order(
    num_samples: int, batch_size: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Return the batches of an epoch: int64 [batch_size] indices; the last batch may be shorter.

    Each sample occurs once. The result is a function of the arguments alone, so that every process
    of a run, and the baseline beside it, draw the same batches without talking to each other.
    seed and epoch are not negative. Raises ValueError for an argument out of range.
    """
    if num_samples < 1 or batch_size < 1:
        raise ValueError(f"cannot cut {num_samples} samples into batches of {batch_size}")
    if seed < 0 or epoch < 0:
        raise ValueError(f"seed {seed} and epoch {epoch} must not be negative")
    # spawn_key keeps the epochs of one seed apart from those of every other seed; seed + epoch
    # would give epoch 1 of seed 0 and epoch 0 of seed 1 the same order.
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))
    order = generator.permutation(num_samples).astype(np.int64, copy=False)
    return [order[start : start + batch_size] for start in range(0, num_samples, batch_size)]
