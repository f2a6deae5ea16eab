"""How well the network did on test samples, as sums that add up over batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Score", "add_scores"]


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over num_samples samples, by what is summed; ``loss`` is always among them.

    num_samples: those that count. weights: what a sum is divided by, where that is another number.
    """

    num_samples: int
    sums: Mapping[str, float]
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def means(self) -> dict[str, float]:
        """Of each sum; nothing where nothing counts."""
        by = {name: self.weights.get(name, self.num_samples) for name in self.sums}
        return {name: total / by[name] for name, total in self.sums.items() if by[name]}


def add_scores(scores: Sequence[Score]) -> Score:
    """The sums over several batches, all scored by one loss."""
    return Score(
        sum(score.num_samples for score in scores),
        _sums([score.sums for score in scores]),
        _sums([score.weights for score in scores]),
    )


def _sums(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = tables[0] if tables else ()
    return {name: sum(table[name] for table in tables) for name in names}
