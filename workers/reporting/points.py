"""The points of a stage's curves, from what its worker counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dni_async.decisions.curve import Curve, updates_between_points
from dni_async.decisions.schedule import trained_up_to
from dni_async.wire.points import Point
from dni_async.workers.reporting.tally import Tally
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat

__all__ = ["StageCurve"]


class StageCurve:
    """Looks at the tally where a point is due, and tells what is new since the one before."""

    def __init__(self, seat: Seat, equipment: Equipment, tally: Tally) -> None:
        config, welcome = seat.config, seat.welcome
        self._train = welcome.num_updates // config.epochs
        self._evaluate = welcome.num_test_batches
        self._accumulate = config.accumulate
        num_updates = welcome.num_updates // config.accumulate
        self._curve = Curve(updates_between_points(config.log_every, num_updates))
        self._equipment = equipment
        self._tally = tally
        self.start()

    def start(self) -> None:
        """The counts begin here."""
        self._begin()

    def add_loss(self, loss: float, weight: float) -> None:
        """Head: the mean loss of a training batch, and what it weighs."""
        self._curve.add_loss(loss, weight)

    def updated(self, batch_id: int, num_samples: int) -> None:
        """The stage has learnt from a training batch; no replay."""
        done = trained_up_to(batch_id, self._train, self._evaluate)
        updates = done // self._accumulate
        if self._curve.reach(updates, num_samples):
            self._curve.add(updates, self._span_s, **self._figures())
            self._begin()

    def take(self) -> tuple[Point, ...]:
        """The points that nobody has been told of."""
        return self._curve.take()

    def state(self) -> dict[str, Any]:
        """What a run that goes on must know of the curve."""
        return self._curve.state(self._span_s)

    def restore(self, state: Mapping[str, Any], *, is_head: bool) -> None:
        """Go on from a state; see Curve.restore."""
        self._curve.restore(state, has_loss=is_head)

    def _begin(self) -> None:
        """Remember how the counts stand at this point."""
        tally = self._tally
        self._since = tally.training
        self._stale = tally.staleness.total
        self._sent = tally.sent_so_far

    @property
    def _span_s(self) -> float:
        return self._tally.training.seconds - self._since.seconds

    @property
    def _occupancy(self) -> float:
        """A window that has been narrowed may have held more than it holds."""
        in_flight = _mean(self._tally.sent_so_far, self._sent)
        share = in_flight / self._equipment.machine.window
        return share if math.isnan(share) else min(1.0, share)

    def _figures(self) -> dict[str, Any]:
        tally, boundary = self._tally, self._equipment.boundary
        now, span_s = tally.training, self._span_s
        busy = (now.busy_s - self._since.busy_s) / span_s if span_s > 0 else 0.0
        figures = {
            "rate": self._equipment.stage.updates.rate,
            "busy": min(1.0, max(0.0, busy)),
            "staleness": _mean(tally.staleness.total, self._stale),
            "occupancy": self._occupancy,
        }
        agreement = None if boundary is None else boundary.comparison.take_recent()
        if agreement is not None and agreement.num_gradients:
            figures |= {
                "num_gradients": agreement.num_gradients,
                "cosine": agreement.cosine,
                "relative_error": agreement.relative_error,
                "norm_ratio": agreement.norm_ratio,
            }
        return figures


def _mean(now: tuple[int, int], before: tuple[int, int]) -> float:
    """Of what has come since, as (sum, number); NaN of nothing."""
    count = now[1] - before[1]
    return (now[0] - before[0]) / count if count else math.nan
