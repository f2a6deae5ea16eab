"""What a run's targets are like, and what a loss takes for targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["CLASSES", "Taken", "TargetForm"]


@dataclass(frozen=True, slots=True)
class TargetForm:
    """Of the targets [N, *shape] that a run compares its outputs with.

    num_classes: of class labels, in [0, num_classes) but for those that are ignored; 0 where
    targets are no class labels. dtype: float32 or int64. ignored: the label that does not count,
    None where none is it.
    """

    num_classes: int
    shape: tuple[int, ...] = ()
    dtype: Literal["float32", "int64"] = "int64"
    ignored: int | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TargetForm:
        """From what dataclasses.asdict gave, by way of JSON."""
        return cls(**{**values, "shape": tuple(values["shape"])})

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one sample's outputs, of a network that is made for these targets."""
        return (self.num_classes,) if self.num_classes else self.shape


@dataclass(frozen=True, slots=True)
class Taken:
    """What a loss takes: class labels; numbers, float32, of which shares are in [0, 1]; or both.

    ignore_index: the label that does not count.
    """

    kind: Literal["classes", "numbers", "shares", "any"] = "classes"
    ignore_index: int = -100


CLASSES = Taken()
