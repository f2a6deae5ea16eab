"""Cut a line of layers into consecutive stages, and deal devices over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from dni_async.errors import ConfigError

__all__ = [
    "HANDOVER_S",
    "Cut",
    "LayerCost",
    "balance_layers",
    "choose_cut",
    "deal_devices",
    "split_layers",
    "stage_seconds",
]

HANDOVER_S = 0.0005
"""Processor time that one more worker takes for a batch, beside its synthesizer's; docs/decisions/
0024 has the measurements."""

Ranges = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Seconds of one core that a layer takes for a batch.

    own: forward, parameter gradients and update. inputs: the gradient of its inputs, which it
    computes for a layer below it in the same stage, or where every batch's gradient is returned.
    boundary: the synthetic gradient, where it is its stage's last layer.
    """

    own: float
    inputs: float = 0.0
    boundary: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """Layers in stages. stage_s: what each takes for a batch; batch_s: the line, on its cores."""

    ranges: Ranges
    stage_s: list[float]
    batch_s: float


def split_layers(num_layers: int, num_stages: int | None) -> Ranges:
    """Half-open layer ranges, one for each stage, sizes differing by at most one.

    num_stages None: one layer per stage. Raises ConfigError for more stages than layers.
    """
    num_stages = num_layers if num_stages is None else num_stages
    if not 1 <= num_stages <= num_layers:
        raise ConfigError(
            f"stages: {num_stages} stages need at least as many layers, but there are "
            f"{num_layers}; ask for fewer, or name more points of the network in split"
        )
    bounds = [stage * num_layers // num_stages for stage in range(num_stages + 1)]
    return list(pairwise(bounds))


def balance_layers(
    costs: Sequence[LayerCost], num_stages: int, *, returns_all: bool = False
) -> Ranges:
    """Half-open layer ranges whose dearest stage is as cheap as can be.

    returns_all: stages return a gradient of every batch. Of equally good cuts the one with the
    earliest bounds. Raises ConfigError for more stages than layers.
    """
    split_layers(len(costs), num_stages)  # the same complaint
    return _cheapest(_stage_cost(costs, returns_all), len(costs), num_stages)[num_stages - 1]


def stage_seconds(
    costs: Sequence[LayerCost], ranges: Sequence[tuple[int, int]], *, returns_all: bool = False
) -> list[float]:
    """What stages of these layers take for a batch, each on a core of its own."""
    cost = _stage_cost(costs, returns_all)
    return [cost(first, end) for first, end in ranges]


def choose_cut(
    costs: Sequence[LayerCost], cores: int, *, returns_all: bool = False
) -> tuple[Cut, list[Cut]]:
    """The cut whose line is the fastest on cores, and all that were weighed, fewest stages first.

    A batch takes a line as long as its slowest stage, and no less than the work of all stages
    shared out over the cores, with HANDOVER_S for each boundary. There are two stages at least,
    and no fewer than cores, of which some would be idle. cores and costs: one or more.
    """
    cuts = []
    least = min(len(costs), max(2, cores))
    for ranges in _cheapest(_stage_cost(costs, returns_all), len(costs), len(costs))[least - 1 :]:
        stage_s = stage_seconds(costs, ranges, returns_all=returns_all)
        whole = sum(stage_s) + HANDOVER_S * (len(ranges) - 1)
        cuts.append(Cut(ranges, stage_s, max(*stage_s, whole / cores)))
    return min(cuts, key=lambda cut: cut.batch_s), cuts


def _stage_cost(costs: Sequence[LayerCost], returns_all: bool) -> Callable[[int, int], float]:
    own = [0.0, *accumulate(cost.own for cost in costs)]
    inputs = [0.0, *accumulate(cost.inputs for cost in costs)]

    def cost(first: int, end: int) -> float:
        lowest = first if returns_all and first > 0 else first + 1
        boundary = costs[end - 1].boundary if end < len(costs) else 0.0
        return own[end] - own[first] + inputs[end] - inputs[lowest] + boundary

    return cost


def _cheapest(cost: Callable[[int, int], float], num_layers: int, most: int) -> list[Ranges]:
    """For 1 to most stages the ranges whose dearest stage is as cheap as can be."""
    found = []
    # best[end] = (dearest stage, bounds) of the first `stages` stages over layers [0, end)
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [0])}
    for stages in range(1, most + 1):
        best = {
            end: min(
                (max(dearest, cost(start, end)), [*bounds, end])
                for start, (dearest, bounds) in best.items()
                if start < end
            )
            for end in range(stages, num_layers + 1)
        }
        found.append(list(pairwise(best[num_layers][1])))
    return found


def deal_devices(devices: Sequence[str], num_stages: int) -> list[str]:
    """The device of each stage: devices in order, in contiguous groups of near-equal size.

    With more devices than stages the last ones stay unused.
    """
    used = min(len(devices), num_stages)
    return [devices[stage * used // num_stages] for stage in range(num_stages)]
