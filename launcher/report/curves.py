"""The curves of a run within its epochs: points as they are written down, in their order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from dni_async.wire.points import Point

__all__ = ["CurvePoint", "Curves", "Told"]

_DIGITS = {"seconds": 4, "samples_per_second": 1}
OF_LOSS: Final = -1  # the curve of the loss, among those of stages
_OF_SHARES = 4  # digits of what is no loss and no rate


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """What a stage did in the updates since its point before; see wire.points.Point.

    stage: of a baseline, which is the whole network, 0. seconds: of training up to here. None is
    what there is none of: a loss of stages below the head, agreement where nothing was compared.
    """

    stage: int
    updates: int
    seconds: float
    samples_per_second: float
    loss: float | None = None
    rate: float | None = None
    busy: float | None = None
    staleness: float | None = None
    occupancy: float | None = None
    num_gradients: int = 0
    cosine: float | None = None
    relative_error: float | None = None
    norm_ratio: float | None = None

    @property
    def curve(self) -> int:
        """The stage, but of the loss one for whichever stage is the head."""
        return self.stage if self.loss is None else OF_LOSS

    def to_dict(self) -> dict[str, Any]:
        """As in metrics.jsonl: what there is none of is left out."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        if not self.num_gradients:
            del values["num_gradients"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CurvePoint:
        """What to_dict made. Raises TypeError for what lacks something."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of a run before it was resumed. points: those that it goes on from.

    updates: by curve, the last one that any point told of. epoch: the last that was told of. Both
    may lie behind where the run goes on; who has them from then hears them once more.
    """

    points: tuple[CurvePoint, ...] = ()
    updates: Mapping[int, int] = field(default_factory=dict)
    epoch: int = 0


class Curves:
    """The curves of one network, by stage. before: the points that it goes on from.

    Updates only grow along a curve: what a replacement or a resumed run tells of updates that
    were told of is passed over.
    """

    def __init__(self, before: Iterable[CurvePoint] = ()) -> None:
        self._last: dict[int, int] = {}
        self._seconds: dict[int, float] = {}
        for point in before:
            self._last[point.curve], self._seconds[point.stage] = point.updates, point.seconds
        self._began = max(self._seconds.values(), default=0.0)  # of a stage that was not there

    def enter(self, stage: int, points: Iterable[Point]) -> list[CurvePoint]:
        """The points that go on with the stage's curve."""
        fresh = []
        for point in points:
            seconds = self._seconds.get(stage, self._began) + point.span_s
            written = _written(stage, seconds, point)
            if point.updates > self._last.get(written.curve, 0):
                self._last[written.curve], self._seconds[stage] = point.updates, seconds
                fresh.append(written)
        return fresh


def _written(stage: int, seconds: float, point: Point) -> CurvePoint:
    rate = point.num_samples / point.span_s if point.span_s > 0 else 0.0
    return CurvePoint(
        stage=stage,
        updates=point.updates,
        seconds=round(seconds, _DIGITS["seconds"]),
        samples_per_second=round(rate, _DIGITS["samples_per_second"]),
        loss=_there(point.loss),
        rate=_there(point.rate),
        busy=_there(point.busy, _OF_SHARES),
        staleness=_there(point.staleness, _OF_SHARES),
        occupancy=_there(point.occupancy, _OF_SHARES),
        num_gradients=point.num_gradients,
        cosine=_there(point.cosine, _OF_SHARES),
        relative_error=_there(point.relative_error, _OF_SHARES),
        norm_ratio=_there(point.norm_ratio, _OF_SHARES),
    )


def _there(value: float, digits: int | None = None) -> float | None:
    if math.isnan(value):
        return None
    return value if digits is None else round(value, digits)
