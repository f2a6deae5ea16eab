"""What is trained: a row with an arm, by how it is chosen, run and judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from benchmarks.workloads.deep.arms import Arm
from benchmarks.workloads.deep.delays import delays_of
from benchmarks.workloads.deep.rows import Row
from dni_async.config.run_config import RunConfig

__all__ = ["Entry"]

ALWAYS: dict[str, Any] = {"baseline": False, "devices": ("cpu",), "lr_schedule": "cosine"}


@dataclass(slots=True)
class Entry:
    """A row's arm and what came of it: seeds, by the best of the rates of grid.

    common: settings of every arm. grid: by rate, the quality on what settings are chosen on; inf
    where it diverged. arithmetic: see arithmetic.counted. reference: whose quality is the measure;
    None of backpropagation itself.
    """

    row: Row
    arm: Arm
    common: dict[str, Any]
    reference: Entry | None = None
    grid: dict[float, float] = field(default_factory=dict)
    seeds: list[dict[str, Any]] = field(default_factory=list)
    arithmetic: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    @property
    def name(self) -> str:
        """As it is printed."""
        return f"{self.row.name}: {self.arm.label}"

    @property
    def lr(self) -> float:
        """Its own, else the best of the grid, else the row's."""
        own: float | None = self.arm.settings.get("lr")
        if own is not None:
            return own
        return min(self.grid, key=self.grid.__getitem__) if self.grid else self.row.lr

    def config(self, seed: int, lr: float, data: str) -> RunConfig:
        """The run. Raises ConfigError."""
        values = ALWAYS | self.row.settings | self.common | dict(self.arm.settings)
        values |= {"model": self.row.model, "data": data, "seed": seed, "lr": lr}
        return RunConfig.from_dict(values)

    def in_order(self, config: RunConfig) -> dict[str, Any]:
        """What ordered.main is told: the windows are as wide as the delays ask for."""
        order: dict[str, Any] = {"delays": self.arm.delays, "watch": self.arm.watch, "ranges": None}
        if self.arm.is_reference:
            config = dataclasses.replace(config, stages=1)
        else:
            order["ranges"] = self.row.ranges
            config = dataclasses.replace(config, window=_most(self.arm.delays) + 1)
        return order | {"config": config.to_dict(), "counts": False}

    @property
    def qualities(self) -> list[float]:
        """By seed."""
        return [self.row.quality.of(result) for result in self.seeds]

    @property
    def behind(self) -> float | None:
        """How far behind backpropagation; see Quality.behind."""
        if self.reference is None or not (self.seeds and self.reference.seeds):
            return None
        return self.row.quality.behind(self.qualities, self.reference.qualities)

    @property
    def verdict(self) -> str:
        """What was asked, and met or MISSED."""
        if self.failed:
            return f"FAILED: {self.failed}"
        behind = self.behind
        if behind is None:
            return ""
        quality = self.row.quality
        is_met = round(behind, 4) <= quality.most
        return f"{quality.said(quality.most)}: {'met' if is_met else 'MISSED'}"

    @property
    def work(self) -> float | None:
        """Multiply-adds as a share of backpropagation's."""
        if self.reference is None or not (self.arithmetic and self.reference.arithmetic):
            return None
        return sum(self.arithmetic.values()) / sum(self.reference.arithmetic.values())

    def mean(self, figure: str) -> float:
        """Of the last epochs."""
        return fmean(result["epochs"][-1][figure] for result in self.seeds)

    @property
    def seconds_to_goal(self) -> list[float | None]:
        """By seed, the training seconds to what the reference reached but for the slack."""
        quality, plain = self.row.quality, self.reference or self
        return [
            _seconds_to(mine["epochs"], quality.figure, quality.goal(quality.of(theirs)))
            for mine, theirs in zip(self.seeds, plain.seeds, strict=False)
        ]

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        return {
            "row": self.row.name,
            "arm": self.arm.name,
            "flags": self.arm.flags,
            "delays": self.arm.delays,
            "reference": None if self.reference is None else self.reference.arm.name,
            "samples": self.row.samples,
            "settings": self.row.settings | self.common | dict(self.arm.settings),
            "lr": self.lr,
            "grid": [{"lr": lr, "quality": _finite(value)} for lr, value in self.grid.items()],
            "figure": self.row.quality.figure,
            "seeds": self.seeds,
            "behind": self.behind,
            "verdict": self.verdict,
            "multiply_adds": self.arithmetic,
            "work": self.work,
            "seconds_to_goal": self.seconds_to_goal,
        }


def _most(delays: str) -> int:
    return max(delays_of(delays, delays.count(",") + 1))


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def _seconds_to(epochs: Sequence[dict[str, Any]], figure: str, goal: float) -> float | None:
    seconds = 0.0
    for epoch in epochs:
        seconds += float(epoch["seconds"])
        if float(epoch[figure]) <= goal:
            return seconds
    return None
