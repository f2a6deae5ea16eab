"""Makes the loop of a worker that has taken its seat, and what it works with."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from dni_async.files.shards import read_part
from dni_async.workers.saving.shard_writer import ShardWriter
from dni_async.workers.saving.stage_state import restore, start_of
from dni_async.workers.startup.connections import Connections
from dni_async.workers.startup.equipment import Equipment, equip
from dni_async.workers.startup.seat import Seat
from dni_async.workers.training.loop import WorkerLoop

__all__ = ["make_loop"]


def make_loop(
    seat: Seat,
    connections: Connections,
    *,
    equip: Callable[..., Equipment] = equip,
    clock: Callable[[], float] = time.perf_counter,
    writer: ShardWriter | None = None,
) -> WorkerLoop:
    """The loop of a worker that has taken its seat: from the seed, or from a checkpoint's shard.

    clock, writer: see WorkerLoop. Raises DataError, ConfigError, CheckpointError.
    """
    layers = seat.welcome.first_layer, seat.welcome.end_layer
    shard = read_part(Path(seat.welcome.shard), layers) if seat.welcome.shard else None
    start = start_of(shard)
    equipment = equip(
        seat.stage,
        seat.welcome,
        seat.config,
        start=start,
        next_batch_id=seat.next_batch_id,
        is_replacement=seat.is_replacement,
    )
    loop = WorkerLoop(seat, equipment, connections, start=start, clock=clock, writer=writer)
    if shard is not None:
        restore(shard, seat, equipment, loop.instruments.epochs)
    return loop
