"""What a stage knows of the run's epochs, and tells the coordinator as their markers pass."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from dni_async.decisions.actions import Cut, Mark
from dni_async.stage.losses.metrics.examination import Examination
from dni_async.synthesizers.agreement import Agreement
from dni_async.synthesizers.boundary import Boundary
from dni_async.wire.messages import BoundaryEpoch, EpochLoss, EpochTrained, Evaluated
from dni_async.workers.reporting.points import StageCurve
from dni_async.workers.reporting.staleness import Staleness
from dni_async.workers.reporting.tally import Tally
from dni_async.workers.reporting.telling import Telling
from dni_async.workers.startup.seat import Seat

__all__ = ["Epochs"]


class Epochs:
    """The source times them; the head sums their losses and tests; the others see gradients.

    What is told is of all epochs since the network was tested last. epoch: the present one at the
    source, elsewhere the last one that ended with a test. staleness: of the
    gradients learnt from in this epoch. curve: what is told within it.

    Where the line is not drained the source goes on while an epoch before has yet to end: begun is
    the one that it has come to, epoch the one that is not over everywhere. An epoch's seconds then
    begin where those of the one before ended, and so hold the test in between; what each stage did
    for that test is told with them.
    """

    def __init__(
        self,
        seat: Seat,
        telling: Telling,
        boundary: Boundary | None,
        examination: Examination | None,
        curve: StageCurve,
        tally: Tally,
        *,
        drains: bool = True,
    ) -> None:
        self.epoch = self.begun = 0
        self.curve = curve
        self._tally = tally
        self._drains = drains
        self._is_timing = False
        self._seat = seat
        self.telling = telling
        self._boundary = boundary
        self._examination = examination
        self.staleness = Staleness()
        self._began = time.perf_counter()
        self._seconds_before = 0.0  # of what a resumed run goes on with
        self._loss_sum, self._loss_weight = 0.0, 0.0
        self._num_samples = 0

    @property
    def mean_loss(self) -> float:
        """Head: mean training loss since the last test; NaN before the first batch."""
        return self._loss_sum / self._loss_weight if self._loss_weight else math.nan

    @property
    def seconds(self) -> float:
        """Source: since training began after the last test, or this worker took it over."""
        return time.perf_counter() - self._began

    def state(self, cut: Cut) -> dict[str, Any]:
        """What a run that goes on at cut must know of what went before, since the last test."""
        words = [[type(word).__name__, asdict(word)] for word in self.telling.kept.own]
        known: dict[str, Any] = {"curve": self.curve.state(), "words": words}
        if self._seat.inbox is None:
            is_first = cut.index == 0 and self._is_after_test(cut.epoch)
            known["seconds"] = 0.0 if is_first and self._drains else self.seconds
        if not self._drains:
            known["tested_s"] = self._tally.tested_s
        if self._seat.outbox is None:
            known |= {"loss_sum": self._loss_sum, "loss_weight": self._loss_weight}
            known |= {"num_samples": self._num_samples}
        return known

    def restore(self, state: Mapping[str, Any], epoch: int) -> None:
        """Go on in epoch from a state; its time runs on from start."""
        self._seconds_before = state.get("seconds", 0.0)
        if "curve" in state:
            self.curve.restore(state["curve"], is_head=self._seat.outbox is None)
        self._num_samples = state.get("num_samples", 0)
        self._loss_sum = state.get("loss_sum", 0.0)
        self._loss_weight = state.get("loss_weight", float(self._num_samples))
        self.epoch = self.begun = epoch if self._seat.inbox is None else epoch - 1
        self._tally.tested_s = state.get("tested_s", 0.0)
        self._is_timing = True

    def regroup(self, boundary: Boundary | None) -> None:
        """The stage ends at another boundary: what the one before it was compared with is gone."""
        if boundary is not self._boundary:
            self._boundary = boundary
            self.staleness.clear()

    def start(self) -> None:
        """The run begins here; at the source an epoch that it is in the middle of goes on."""
        self._began = time.perf_counter() - self._seconds_before
        self.curve.start()

    def begin(self, epoch: int) -> None:
        """Source: its first training batch of the epoch is about to be loaded."""
        self.begun = epoch
        if self._drains or epoch <= self._seat.config.tested_at(max(1, self.epoch)):
            self.epoch = epoch
        if self._is_after_test(epoch) and (self._drains or not self._is_timing):
            self._began = time.perf_counter()
        self._is_timing = True

    def _is_after_test(self, epoch: int) -> bool:
        return self._seat.config.tested_at(epoch - 1) == epoch - 1

    def add_loss(self, loss: float, weight: float, num_samples: int) -> None:
        """Head: the mean loss of a training batch of num_samples, and what it weighs."""
        self._loss_sum += loss * weight
        self._loss_weight += weight
        self._num_samples += num_samples
        self.curve.add_loss(loss, weight)

    def add_test(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Head: what the network makes of a test batch."""
        assert self._examination is not None
        self._examination.add(outputs, targets)

    def add_lesson(self, staleness: int) -> None:
        """The boundary learnt from a returned gradient, so many updates after the forward."""
        self.staleness.add(staleness)

    def announce(self, mark: Mark) -> None:
        """Tell what is known now that mark has passed."""
        is_source, is_head = self._seat.inbox is None, self._seat.outbox is None
        if mark.kind == "trained":
            if is_head:  # first: of a stage alone, nobody can tell it again once the rest is known
                self._announce_loss(mark.epoch)
            if is_source:
                self.telling.tell(EpochTrained(self._seat.run_id, mark.epoch, self.seconds))
                if not self._drains:
                    self._began = time.perf_counter()
            else:
                self.epoch = mark.epoch
            if not is_head:
                self._announce_boundary(mark.epoch)
        elif mark.kind == "evaluated":
            if is_head:
                self._announce_test(mark.epoch)
            if is_source:
                self.telling.tested(mark.epoch)
                self.epoch = max(self.epoch, min(self.begun, mark.epoch + 1))

    def _announce_loss(self, epoch: int) -> None:
        loss, tested_s = self.mean_loss, self._take_tested_s()
        word = EpochLoss(self._seat.run_id, epoch, loss, self._num_samples, tested_s)
        self.telling.tell(word)
        self._loss_sum, self._loss_weight, self._num_samples = 0.0, 0.0, 0

    def _announce_test(self, epoch: int) -> None:
        assert self._examination is not None
        measured = self._examination.take()
        # Of no samples there is none: the stage was replaced when all had passed.
        loss = math.nan if measured.loss is None else measured.loss
        told = Evaluated(self._seat.run_id, epoch, loss, measured.metrics, measured.num_samples)
        self.telling.tell(told)

    def _announce_boundary(self, epoch: int) -> None:
        agreement = Agreement() if self._boundary is None else self._boundary.comparison.take()
        self.telling.tell(
            BoundaryEpoch(
                run_id=self._seat.run_id,
                stage=self._seat.stage,
                epoch=epoch,
                num_gradients=agreement.num_gradients,
                cosine=agreement.cosine,
                relative_error=agreement.relative_error,
                norm_ratio=agreement.norm_ratio,
                staleness_median=self.staleness.at(0.5),
                staleness_max=self.staleness.max,
                corrected=agreement.corrected,
                tested_s=self._take_tested_s(),
            )
        )
        self.staleness.clear()

    def _take_tested_s(self) -> float:
        tested_s, self._tally.tested_s = self._tally.tested_s, 0.0
        return 0.0 if self._drains else tested_s
