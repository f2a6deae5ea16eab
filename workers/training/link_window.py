"""How wide the window of the link above is to be, by what this worker has counted of it."""

from __future__ import annotations

import time

from dni_async.decisions.actions import WindowSet
from dni_async.decisions.machines.machine import StageMachine
from dni_async.decisions.windows import LinkCounts, WindowControl
from dni_async.workers.reporting.tally import Tally
from dni_async.workers.startup.seat import Seat

__all__ = ["LinkWindow"]


class LinkWindow:
    """Looks now and then, with --window auto, at a link that goes over tcp.

    Neighbours on one host keep the window that they began with: as many slots have memory.
    """

    def __init__(self, seat: Seat, machine: StageMachine, tally: Tally) -> None:
        self._seat = seat
        self._tally = tally
        self._control = None
        if seat.config.window == "auto":
            self._control = WindowControl(machine.window, machine.places)

    def look(self) -> WindowSet | None:
        """What the machine should hear, if anything."""
        outbox = self._seat.outbox
        if self._control is None or outbox is None or outbox.carrier != "tcp":
            return None
        trips = self._tally.round_trips
        counts = LinkCounts(
            now_s=time.perf_counter(),
            blocked_s=self._tally.credit_waiting_s,
            released=trips.num_released,
            trips_s=trips.sum_s,
            least_s=max(0.0, trips.least_s),
        )
        return WindowSet(self._control.window) if self._control.look(counts) else None
