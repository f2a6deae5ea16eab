"""Points of a run's curves: what a stage did in the updates since its point before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["MAX_POINTS", "Point"]

MAX_POINTS: Final = 64  # in one message


@dataclass(frozen=True, slots=True)
class Point:
    """What a stage did up to an update of the run and since its point before.

    updates: the batches of the run's order of work up to here, over accumulate: the same number at
    every stage and in the baseline, whatever was skipped, replayed or lost. span_s: seconds of
    training since the point before, evaluation left out. num_samples: those learnt from. loss: the
    head's mean training loss. rate: the learning rate of the last update. busy: the share of span_s
    spent computing. staleness: the mean of the returned gradients that were used. occupancy: how
    full the window was at each sending, on average, from 0 to 1. cosine, relative_error,
    norm_ratio: means over the num_gradients that the boundary compared. NaN is what there is none
    of.
    """

    updates: int
    span_s: float
    num_samples: int
    loss: float = math.nan
    rate: float = math.nan
    busy: float = math.nan
    staleness: float = math.nan
    occupancy: float = math.nan
    num_gradients: int = 0
    cosine: float = math.nan
    relative_error: float = math.nan
    norm_ratio: float = math.nan
