"""Cut a line of layers into consecutive stages, and deal devices over them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from dni_async.errors import ConfigError

__all__ = ["balance_layers", "deal_devices", "split_layers"]


def split_layers(num_layers: int, num_stages: int | None) -> list[tuple[int, int]]:
    """Half-open layer ranges, one for each stage, sizes differing by at most one.

    num_stages None: one layer per stage. Raises ConfigError for more stages than layers.
    """
    num_stages = num_layers if num_stages is None else num_stages
    if not 1 <= num_stages <= num_layers:
        raise ConfigError(
            f"stages: {num_stages} stages need at least as many layers, but there are {num_layers}"
        )
    bounds = [stage * num_layers // num_stages for stage in range(num_stages + 1)]
    return list(pairwise(bounds))


def balance_layers(seconds: Sequence[float], num_stages: int) -> list[tuple[int, int]]:
    """Half-open layer ranges whose dearest stage is as cheap as can be; seconds: of each layer.

    Of equally good cuts the one with the earliest bounds. Raises ConfigError for more stages than
    layers.
    """
    num_layers = len(seconds)
    split_layers(num_layers, num_stages)  # the same complaint
    sums = [0.0, *accumulate(seconds)]
    # best[end] = (dearest stage, bounds) of the first `stages` stages over layers [0, end)
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [0])}
    for stages in range(1, num_stages + 1):
        following: dict[int, tuple[float, list[int]]] = {}
        for end in range(stages, num_layers - (num_stages - stages) + 1):
            following[end] = min(
                (max(dearest, sums[end] - sums[start]), [*bounds, end])
                for start, (dearest, bounds) in best.items()
                if start < end
            )
        best = following
    bounds = best[num_layers][1]
    return list(pairwise(bounds))


def deal_devices(devices: Sequence[str], num_stages: int) -> list[str]:
    """The device of each stage: devices in order, in contiguous groups of near-equal size.

    With more devices than stages the last ones stay unused.
    """
    used = min(len(devices), num_stages)
    return [devices[stage * used // num_stages] for stage in range(num_stages)]
