"""What a worker counts while it runs: where its time went, how full its window and how stale."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dni_async.wire.counters import Times
from dni_async.wire.messages import MarkerKind
from dni_async.workers.reporting.round_trips import RoundTrips
from dni_async.workers.reporting.staleness import Staleness

__all__ = ["Tally", "TrainingTime"]


@dataclass(frozen=True, slots=True)
class TrainingTime:
    """Seconds while training, evaluation left out. cpu_s: of all threads of the process.

    seconds: all that passed.
    """

    busy_s: float
    sending_s: float
    cpu_s: float
    seconds: float


class Tally:
    """The counts of one worker. sending_s is added to where the time is spent.

    staleness: of the gradients that were used since the start. round_trips: of the link above.
    tested_s: processor seconds of this thread that went into test batches, since they were told.
    """

    def __init__(self) -> None:
        self.waiting_s = 0.0
        self.credit_waiting_s = 0.0
        self.data_waiting_s = 0.0
        self.sending_s = 0.0
        self.tested_s = 0.0
        self._began = time.perf_counter()
        self._is_training = True
        self._in_flight = 0
        self._num_sendings = 0
        self.staleness = Staleness()
        self.round_trips = RoundTrips()
        self._trained = TrainingTime(0.0, 0.0, 0.0, 0.0)
        self._since = self._times()

    def begin(self) -> None:
        """The run begins here."""
        self._began = time.perf_counter()
        self._since = self._times()

    @property
    def busy_s(self) -> float:
        """Seconds since begin that were spent neither waiting nor sending."""
        return time.perf_counter() - self._began - self.waiting_s - self.sending_s

    def waited(self, seconds: float, *, for_credits: bool, for_data: bool = False) -> None:
        """There was nothing to do; for_credits: but for a place in the window there was; for_data:
        but for the next batch's samples.
        """
        self.waiting_s += seconds
        if for_data:
            self.data_waiting_s += seconds
        if for_credits:
            self.credit_waiting_s += seconds

    def pass_marker(self, kind: MarkerKind) -> None:
        """Training ends behind a marker "trained", and goes on behind one "evaluated"."""
        if kind == "pause":
            return
        self._trained = self.training
        self._since = self._times()
        self._is_training = kind == "evaluated"

    @property
    def training(self) -> TrainingTime:
        """Where the time went so far while training."""
        if not self._is_training:
            return self._trained
        past, since, now = self._trained, self._since, self._times()
        return TrainingTime(
            past.busy_s + now.busy_s - since.busy_s,
            past.sending_s + now.sending_s - since.sending_s,
            past.cpu_s + now.cpu_s - since.cpu_s,
            past.seconds + now.seconds - since.seconds,
        )

    def times(self) -> Times:
        """Where all the time went so far."""
        training = self.training
        return Times(
            busy_s=self.busy_s,
            waiting_s=self.waiting_s,
            sending_s=self.sending_s,
            credit_waiting_s=self.credit_waiting_s,
            data_waiting_s=self.data_waiting_s,
            train_busy_s=training.busy_s,
            train_sending_s=training.sending_s,
            train_cpu_s=training.cpu_s,
        )

    def sent(self, in_flight: int) -> None:
        """A training batch went up and was the in_flight-th in the window."""
        self._in_flight += in_flight
        self._num_sendings += 1

    @property
    def sent_so_far(self) -> tuple[int, int]:
        """Batches in flight at each sending, all together, and how many sendings there were."""
        return self._in_flight, self._num_sendings

    def occupancy(self, window: int) -> float:
        """Batches in flight at each sending, on average and as a share of window; -1 if none.

        At most 1, though a window that has been narrowed may have held more.
        """
        if not self._num_sendings:
            return -1.0
        return min(1.0, self._in_flight / self._num_sendings / window)

    def _times(self) -> TrainingTime:
        passed_s = time.perf_counter() - self._began
        return TrainingTime(self.busy_s, self.sending_s, time.process_time(), passed_s)
