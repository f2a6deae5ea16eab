"""Learning rates over the updates of a run."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch

from dni_async.config.extensions import find_callable, is_extension
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError

__all__ = ["RateFactor", "check_schedule", "make_rate_factor", "rate_factor"]

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
    if is_extension(config.lr_schedule):
        return _own_factor(config.lr_schedule, num_updates, config.warmup_updates)
    return lambda update: rate_factor(
        update, num_updates, schedule=config.lr_schedule, warmup=config.warmup_updates
    )


def check_schedule(config: RunConfig, num_batches: int) -> None:
    """Raises ConfigError where a schedule of the user's own gives no factor.

    It is asked for the first update, the last one, and one in between.
    """
    factor = make_rate_factor(config, num_batches)
    if factor is None or not is_extension(config.lr_schedule):
        return
    last = max(1, num_batches // config.accumulate) - 1
    for update in (0, last // 2, last):
        factor(update)


def _own_factor(name: str, num_updates: int, warmup: int) -> RateFactor:
    """A schedule of the user's own, which begins when the warm-up is over. Raises ConfigError."""
    schedule: Any = find_callable("lr_schedule", name)
    kind = schedule.func if isinstance(schedule, functools.partial) else schedule
    if isinstance(kind, type) and issubclass(kind, torch.optim.lr_scheduler.LRScheduler):
        raise ConfigError(
            f"lr_schedule: {kind.__name__} sets the rate of an optimizer as it is called; give a "
            "function (update, num_updates) -> factor"
        )

    def factor(update: int) -> float:
        if update < warmup:
            return (update + 1) / warmup
        try:
            given = schedule(update - warmup, max(1, num_updates - warmup))
            value = float(given)
        except Exception as error:
            raise ConfigError(f"lr_schedule: {name} raised {error!r} at update {update}") from error
        if not 0 <= value < math.inf:
            raise ConfigError(
                f"lr_schedule: {name} gave {value} at update {update} of {num_updates}, needs a "
                "factor of 0 or more"
            )
        return value

    return factor
