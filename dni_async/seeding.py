"""One seed in, a distinct one for every purpose out."""

from __future__ import annotations

import numpy as np

__all__ = ["stage_seed"]


def stage_seed(seed: int, stage: int) -> int:
    """A 63-bit seed for stage's own randomness (dropout, synthesizers), distinct per stage."""
    state = np.random.SeedSequence([seed, stage]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
