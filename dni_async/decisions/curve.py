"""When a stage's curve gets its next point, and what is summed up until then."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any, Final

from dni_async.wire.points import MAX_POINTS, Point

__all__ = ["Curve", "updates_between_points"]

POINTS_OF_RUN: Final = 100  # where nobody says how many updates lie between two


def updates_between_points(asked: int | None, num_updates: int) -> int:
    """How many of a run's num_updates lie between two points; 0 where there are to be none.

    asked: the setting log_every; None is what gives a curve that one can see.
    """
    return max(1, num_updates // POINTS_OF_RUN) if asked is None else asked


class Curve:
    """The points of one stage, at the multiples of so many updates, until they are told.

    Nothing is lost where points come faster than they are told: with MAX_POINTS waiting none is
    made, and from there on each stands for twice as many updates.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._waiting: list[Point] = []
        self._again: list[Point] = []  # of a state, to be told before those that wait
        self._told: deque[Point] = deque(maxlen=MAX_POINTS)  # the last ones; see state
        self._last: int | None = None  # the update of the point before
        self._loss_sum = self._loss_weight = 0.0
        self._num_samples = 0
        self._passed_s = 0.0  # before this worker took the stage over

    def add_loss(self, loss: float, weight: float) -> None:
        """Head: the mean loss of a training batch, and what it weighs."""
        self._loss_sum += loss * weight
        self._loss_weight += weight

    def reach(self, updates: int, num_samples: int) -> bool:
        """A batch of num_samples has been learnt from; whether a point is to be made of it."""
        self._num_samples += num_samples
        if self._last is None:
            self._last = max(0, updates - 1)
        if not self._every or updates // self._every <= self._last // self._every:
            return False
        if len(self._waiting) >= MAX_POINTS:
            self._every *= 2
            return False
        return True

    def add(self, updates: int, span_s: float, **figures: Any) -> None:
        """Make the point. span_s: since the one before, or since this worker began."""
        loss = self._loss_sum / self._loss_weight if self._loss_weight else math.nan
        span_s += self._passed_s
        self._waiting.append(Point(updates, span_s, self._num_samples, loss, **figures))
        self._last = updates
        self._loss_sum = self._loss_weight = self._passed_s = 0.0
        self._num_samples = 0

    def take(self) -> tuple[Point, ...]:
        """The points that nobody has been told of, MAX_POINTS at most."""
        first = self._again[:MAX_POINTS]
        room = MAX_POINTS - len(first)
        taken = (*first, *self._waiting[:room])
        self._again, self._waiting = self._again[MAX_POINTS:], self._waiting[room:]
        self._told.extend(taken)
        return taken

    def state(self, span_s: float) -> dict[str, Any]:
        """What one who goes on must know: of the updates since the last point, and the points that
        nobody has been told of yet. And the last that were: to a launcher, perhaps, that was gone.
        """
        return {
            "waiting": [
                list(astuple(point)) for point in (*self._told, *self._again, *self._waiting)
            ],
            "last": self._last,
            "loss_sum": self._loss_sum,
            "loss_weight": self._loss_weight,
            "num_samples": self._num_samples,
            "span_s": span_s + self._passed_s,
        }

    def restore(self, state: Mapping[str, Any], *, has_loss: bool) -> None:
        """Go on from a state: the head's, in a stage that is new, but without its losses."""
        points = [Point(*values) for values in state["waiting"]]
        self._again = [each for each in points if has_loss or math.isnan(each.loss)]
        self._last = state["last"]
        if has_loss:
            self._loss_sum, self._loss_weight = state["loss_sum"], state["loss_weight"]
        self._num_samples, self._passed_s = state["num_samples"], state["span_s"]
