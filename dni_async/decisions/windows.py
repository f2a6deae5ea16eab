"""How wide a link's window must be so that the link is never what a stage waits for."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["window_for"]

MAX_OWED: Final = 8  # credits that a busy stage may hold back, see docs/decisions/0019


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
