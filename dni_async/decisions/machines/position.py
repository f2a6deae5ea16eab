"""Where in the line a stage stands."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Position"]


@dataclass(frozen=True, slots=True)
class Position:
    """stage: counted from 0 at the data; of num_stages."""

    stage: int
    num_stages: int

    @property
    def has_below(self) -> bool:
        """Whether it is not the source."""
        return self.stage > 0

    @property
    def has_above(self) -> bool:
        """Whether it is not the head."""
        return self.stage < self.num_stages - 1
