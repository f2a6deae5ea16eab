"""What a stage knows of the run's epochs, and tells the coordinator as their markers pass."""

from __future__ import annotations

import time

from dni_async.decisions.actions import Mark
from dni_async.messages import EpochLoss, EpochTrained, Evaluated
from dni_async.stage import Score, add_scores
from dni_async.transport import ControlClient
from workers.handshake import Seat

__all__ = ["Epochs"]


class Epochs:
    """The source times them; the head sums their losses and scores.

    epoch: the present one at the source, the last one that ended at the head, 0 elsewhere.
    """

    def __init__(self, seat: Seat, control: ControlClient) -> None:
        self.epoch = 0
        self._seat = seat
        self._control = control
        self._began = 0.0
        self._loss_sum = 0.0
        self._num_samples = 0
        self._scores: list[Score] = []

    @property
    def mean_loss(self) -> float:
        """Head: mean training loss per label of the epoch so far; -1 before the first batch."""
        return self._loss_sum / self._num_samples if self._num_samples else -1.0

    def begin(self, epoch: int) -> None:
        """Source: the epoch's first training batch is about to be loaded."""
        self.epoch = epoch
        self._began = time.perf_counter()

    def add_loss(self, loss: float, num_samples: int) -> None:
        """Head: the mean loss of a training batch of num_samples, all with as many labels."""
        self._loss_sum += loss * num_samples
        self._num_samples += num_samples

    def add_score(self, score: Score) -> None:
        """Head: how a test batch was classified."""
        self._scores.append(score)

    def announce(self, mark: Mark) -> None:
        """Tell what is known now that mark has passed."""
        run_id, epoch = self._seat.run_id, mark.epoch
        is_source, is_head = self._seat.inbox is None, self._seat.outbox is None
        if mark.kind == "trained" and is_source:
            seconds = time.perf_counter() - self._began
            self._control.send(EpochTrained(run_id, epoch, seconds))
        if mark.kind == "trained" and is_head:
            self.epoch = epoch
            self._control.send(EpochLoss(run_id, epoch, self.mean_loss, self._num_samples))
            self._loss_sum, self._num_samples = 0.0, 0
        if mark.kind == "evaluated" and is_head:
            total = add_scores(self._scores)
            self._scores.clear()
            accuracy = total.num_correct / total.num_samples
            loss = total.loss_sum / total.num_samples
            self._control.send(Evaluated(run_id, epoch, accuracy, loss, total.num_samples))
