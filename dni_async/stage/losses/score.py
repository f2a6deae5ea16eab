"""How well the network did on test samples, as sums that add up over batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Score", "add_scores"]


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over num_samples samples, by what is summed; ``loss`` is always among them."""

    num_samples: int
    sums: Mapping[str, float]

    @property
    def means(self) -> dict[str, float]:
        """Per sample; nothing of no samples."""
        if not self.num_samples:
            return {}
        return {name: total / self.num_samples for name, total in self.sums.items()}


def add_scores(scores: Sequence[Score]) -> Score:
    """The sums over several batches, all scored by one loss."""
    names = scores[0].sums if scores else ()
    sums = {name: sum(score.sums[name] for score in scores) for name in names}
    return Score(sum(score.num_samples for score in scores), sums)
