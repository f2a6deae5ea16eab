"""One seed in, a distinct one for every purpose out."""

from __future__ import annotations

import numpy as np

__all__ = ["draw_seed", "pass_seed", "stage_seed"]

_MASK = 2**64 - 1


def stage_seed(seed: int, stage: int) -> int:
    """A 63-bit seed for stage's own randomness (synthesizers, rounding), distinct per stage."""
    state = np.random.SeedSequence([seed, stage]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def pass_seed(seed: int, part: str, number: int) -> int:
    """A 63-bit seed for what is drawn in a pass over the training or the test part of the data."""
    key = (0 if part == "training" else 1, number)
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def draw_seed(seed: int, layer: int, batch_id: int) -> int:
    """A 63-bit seed for what a layer draws in a batch (dropout). A microsecond, as it is per batch.

    batch_id: of any sign; those of copies are negative.
    """
    mixed = 0
    for part in (seed, layer, batch_id):
        mixed = _mix(mixed ^ (part & _MASK))
    return mixed >> 1


def _mix(word: int) -> int:
    """Every bit of a 64-bit word on every other (SplitMix64, Steele et al. 2014)."""
    word = (word + 0x9E3779B97F4A7C15) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)
