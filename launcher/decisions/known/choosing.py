"""Where layers are to move: the cut whose slowest stage is the fastest, at the speeds of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

__all__ = ["Choice", "LayerWork", "Layers", "choose", "least_s"]

Layers = tuple[tuple[int, int], ...]
"""Half-open ranges, one for each stage."""


@dataclass(frozen=True, slots=True)
class LayerWork:
    """What is known of a network's layers. costs: of each, in proportion, for a batch. may_end:
    whether a stage may end behind it.
    """

    costs: Sequence[float]
    may_end: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Choice:
    """before_s: what the slowest stage takes for a batch; after_s: what it should with layers."""

    layers: Layers
    before_s: float
    after_s: float

    @property
    def gain(self) -> float:
        """How many times as fast the slowest stage should be."""
        return self.before_s / self.after_s


def least_s(work: LayerWork, layers: Layers, stage_s: Sequence[float]) -> float:
    """What a batch would take at least, if layers could be divided at will: all work, shared out by
    speed.
    """
    factors = _factors(work, layers, stage_s)
    return sum(work.costs) / sum(1 / factor for factor in factors)


def choose(work: LayerWork, layers: Layers, stage_s: Sequence[float]) -> Choice:
    """The best cut by what each stage takes now, its layers' shares of that being as their costs.

    stage_s: seconds for a batch, positive. A worker is as many times slower with other layers as it
    is with those that it has. Of equally good cuts the one that moves the fewest layers.
    """
    factors = _factors(work, layers, stage_s)
    sums = [0.0, *accumulate(work.costs)]
    num_layers, num_stages = len(work.costs), len(layers)
    # best[end]: (slowest, layers moved, bounds) of the first stages over layers [0, end)
    best: dict[int, tuple[float, int, list[int]]] = {0: (0.0, 0, [0])}
    for stage, factor in enumerate(factors):
        is_last = stage + 1 == num_stages
        ends = [num_layers] if is_last else range(stage + 1, num_layers - num_stages + stage + 2)
        found: dict[int, tuple[float, int, list[int]]] = {}
        for end in ends:
            if not (is_last or work.may_end[end - 1]):
                continue
            moved = abs(end - layers[stage][1])
            ways = (
                (max(slowest, factor * (sums[end] - sums[first])), before + moved, [*bounds, end])
                for first, (slowest, before, bounds) in best.items()
                if first < end
            )
            way = min(ways, default=None)
            if way is not None:
                found[end] = way
        best = found
    slowest, _, bounds = best[num_layers]
    return Choice(tuple(pairwise(bounds)), max(stage_s), slowest)


def _factors(work: LayerWork, layers: Layers, stage_s: Sequence[float]) -> list[float]:
    """Seconds that each stage's worker takes for a unit of cost."""
    return [
        seconds / sum(work.costs[first:end])
        for seconds, (first, end) in zip(stage_s, layers, strict=True)
    ]
