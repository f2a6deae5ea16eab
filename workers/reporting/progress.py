"""What a worker tells of itself twice a second: its counters as one message."""

from __future__ import annotations

import math
import time

from dni_async.system.machine import peak_rss_bytes, rss_bytes
from dni_async.wire.counters import Counters, LinkAbove, Memory, Traffic, WindowUse, Work
from dni_async.wire.messages import Progress
from dni_async.workers.reporting.epochs import Epochs
from dni_async.workers.reporting.round_trips import RoundTrips
from dni_async.workers.reporting.tally import Tally
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat

__all__ = ["held_bytes", "take_stock"]


def held_bytes(before: int) -> int:
    """The process's memory; as it was before where it cannot be asked: that takes a descriptor."""
    try:
        return rss_bytes()
    except OSError:
        return before


def take_stock(
    seat: Seat,
    equipment: Equipment,
    epochs: Epochs,
    tally: Tally,
    *,
    rss_bytes: int,
    longest_s: float,
) -> Progress:
    """All counters as they stand, and the points that came since the last time.

    rss_bytes: the process's memory, as last asked. longest_s: see Progress, infinite for negative.
    """
    machine = equipment.machine
    counters = Counters(
        times=tally.times(),
        work=_work(equipment, epochs),
        staleness=tally.staleness.figures(),
        window=WindowUse(machine.max_pending, tally.occupancy(machine.window)),
        traffic=_traffic(seat),
        memory=Memory(rss_bytes, peak_rss_bytes()),
        link=_link(seat, tally.round_trips, machine.window),
    )
    known_s = longest_s if math.isfinite(longest_s) else -1.0
    return Progress(seat.run_id, seat.stage, counters, epochs.curve.take(), known_s)


def _work(equipment: Equipment, epochs: Epochs) -> Work:
    machine = equipment.machine
    return Work(
        updates=equipment.stage.version,
        skipped=machine.skipped,
        replayed=machine.replayed,
        next_batch_id=machine.next_batch_id,
        epoch=epochs.epoch,
        epoch_s=epochs.seconds,
        loss=epochs.mean_loss,
    )


def _traffic(seat: Seat) -> Traffic:
    links = [link for link in (seat.inbox, seat.outbox) if link is not None]
    return Traffic(
        frame_bytes=sum(link.frame_bytes for link in links),
        shared_bytes=sum(link.shared_bytes for link in links),
    )


def _link(seat: Seat, trips: RoundTrips, window: int) -> LinkAbove:
    outbox = seat.outbox
    if outbox is None:
        return LinkAbove()
    return LinkAbove(
        activations=trips.num_sent,
        up_bytes=outbox.frame_bytes + outbox.shared_bytes,
        down_bytes=outbox.received_bytes,
        in_flight_s=trips.in_flight_s(time.perf_counter()),
        credit_s=trips.median_s,
        least_credit_s=trips.least_s,
        carrier=outbox.carrier,
        window=window,
        in_flight=trips.num_in_flight,
    )
