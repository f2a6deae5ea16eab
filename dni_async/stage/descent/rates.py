"""Learning rates over the updates of a run."""

from __future__ import annotations

import math
from collections.abc import Callable

from dni_async.config.run_config import RunConfig

__all__ = ["RateFactor", "make_rate_factor", "rate_factor"]

RateFactor = Callable[[int], float]

STEPS = (0.6, 0.8)  # of a run: where Jaderberg et al. 2016 divide by ten, 300k and 400k of 500k


def rate_factor(update: int, num_updates: int, *, schedule: str, warmup: int) -> float:
    """What the learning rate of an update, counted from 0, is multiplied by.

    The first ``warmup`` updates rise linearly to 1. After them, over the updates that are left:
    constant; linear to 0; cosine to 0 (Loshchilov & Hutter 2017, without restarts); step: a tenth
    after 60 and again after 80 percent.
    """
    if update < warmup:
        return (update + 1) / warmup
    progress = min(1.0, (update - warmup) / max(1, num_updates - warmup))
    if schedule == "linear":
        return 1 - progress
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if schedule == "step":
        return float(0.1 ** sum(progress >= step for step in STEPS))
    return 1.0


def make_rate_factor(config: RunConfig, num_batches: int) -> RateFactor | None:
    """The run's schedule for a stage that trains on num_batches; None for a rate that stays."""
    if config.lr_schedule == "constant" and config.warmup_updates == 0:
        return None
    num_updates = num_batches // config.accumulate
    return lambda update: rate_factor(
        update, num_updates, schedule=config.lr_schedule, warmup=config.warmup_updates
    )
