"""How wide a link's window must be so that the link is never what a stage waits for.

``window_for`` reckons it from a link's figures, for advice; ``WindowControl`` finds it while the
run goes, for ``--window auto``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["QUEUEING", "LinkCounts", "WindowControl", "window_for"]

MAX_OWED: Final = 8  # credits that a busy stage may hold back, see docs/decisions/0019
QUEUEING: Final = 2.0  # times the shortest round trip: from here on batches wait for one another
BLOCKED: Final = 0.1  # a share of the time that is worth a wider window


def window_for(bandwidth_bytes_s: float, delay_s: float, batch_bytes: float, batch_s: float) -> int:
    """The window that fills a link, at least 1.

    bandwidth_bytes_s: of the link, may be infinite. delay_s: there and back, without the bytes.
    batch_s: what the slowest stage takes for a batch of batch_bytes. Batches follow one another as
    fast as the slower of link and stage allows; a place is taken while its batch travels, is worked
    on and its credit travels back, and for as long as a busy stage holds credits back: it gathers
    as many as half a window, but never more than 8.
    """
    travel_s = batch_bytes / bandwidth_bytes_s
    interval_s = max(batch_s, travel_s)
    if interval_s <= 0:
        return 1
    in_flight = max(1, math.ceil(round((travel_s + delay_s + batch_s) / interval_s, 6)))
    return in_flight + min(in_flight, MAX_OWED)


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """Of the link above a stage, since the start. Times in seconds.

    now_s: of any clock. blocked_s: in which only a full window kept the next batch from being taken
    up. released: places that became free, trips_s: the sum of how long they were taken, least_s:
    the shortest of these times, 0 before the first.
    """

    now_s: float = 0.0
    blocked_s: float = 0.0
    released: int = 0
    trips_s: float = 0.0
    least_s: float = 0.0


class WindowControl:
    """Widens a link's window while distance alone keeps the stage waiting, up to most places.

    Where places stay taken for little longer than the shortest time that was seen, batches wait
    nowhere: what is missing then is places, and twice as many are tried. Where they stay taken for
    QUEUEING times as long, batches wait for one another, on a slow link or before a slow stage;
    more places would only lengthen that queue and make gradients staler. So a window that was
    widened goes back to what is on its way in the shortest time, and never below where it began.

    first: places at the start.
    """

    def __init__(self, first: int, most: int) -> None:
        self.window = first
        self._first = first
        self._most = most
        self._since = LinkCounts()

    def look(self, counts: LinkCounts) -> bool:
        """Whether window has changed, by what happened since it did, or since the last look.

        Nothing is concluded before every place has been taken and freed once.
        """
        since = self._since
        released = counts.released - since.released
        if released < self.window:
            return False
        self._since = counts
        seconds = counts.now_s - since.now_s
        is_queueing = counts.trips_s - since.trips_s >= QUEUEING * counts.least_s * released
        before = self.window
        if not is_queueing and counts.blocked_s - since.blocked_s >= BLOCKED * seconds:
            self.window = min(self._most, 2 * self.window)
        elif is_queueing and seconds > 0:
            on_its_way = math.ceil(round(released / seconds * counts.least_s, 6)) + MAX_OWED
            self.window = max(self._first, min(self.window, on_its_way))
        return self.window != before
