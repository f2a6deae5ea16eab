"""What a worker tells of itself twice a second: its counters as one message."""

from __future__ import annotations

import time

from dni_async.system import peak_rss_bytes
from dni_async.wire.messages import Progress
from dni_async.workers.reporting.epochs import Epochs
from dni_async.workers.reporting.tally import Tally
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.handshake import Seat

__all__ = ["take_stock"]


def take_stock(
    seat: Seat, equipment: Equipment, epochs: Epochs, tally: Tally, *, rss_bytes: int
) -> Progress:
    """All counters as they stand. rss_bytes: the process's memory, as last asked."""
    machine, outbox = equipment.machine, seat.outbox
    training, trips = tally.training, tally.round_trips
    links = [link for link in (seat.inbox, outbox) if link is not None]
    return Progress(
        run_id=seat.run_id,
        stage=seat.stage,
        updates=equipment.stage.version,
        epoch=epochs.epoch,
        busy_s=tally.busy_s,
        waiting_s=tally.waiting_s,
        sending_s=tally.sending_s,
        loss=epochs.mean_loss,
        max_staleness=tally.staleness.max,
        max_pending=machine.max_pending,
        rss_bytes=rss_bytes,
        train_busy_s=training.busy_s,
        train_sending_s=training.sending_s,
        train_cpu_s=training.cpu_s,
        occupancy=tally.occupancy(machine.window),
        staleness_median=tally.staleness.at(0.5),
        staleness_p99=tally.staleness.at(0.99),
        frame_bytes=sum(link.frame_bytes for link in links),
        shared_bytes=sum(link.shared_bytes for link in links),
        peak_rss_bytes=peak_rss_bytes(),
        credit_waiting_s=tally.credit_waiting_s,
        skipped=machine.skipped,
        replayed=machine.replayed,
        next_batch_id=machine.next_batch_id,
        epoch_s=epochs.seconds,
        link_activations=trips.num_sent,
        link_up_bytes=outbox.frame_bytes + outbox.shared_bytes if outbox else 0,
        link_down_bytes=outbox.received_bytes if outbox else 0,
        link_in_flight_s=trips.in_flight_s(time.perf_counter()),
        link_credit_s=trips.median_s,
        link_least_credit_s=trips.least_s,
        link_carrier=outbox.carrier if outbox else "",
        link_window=machine.window if outbox else 0,
    )
