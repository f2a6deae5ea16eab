"""The window that fills a link: bandwidth, delay and work in, a count out."""

from __future__ import annotations

import math

import pytest

from dni_async.decisions.windows import window_for

MB = 1e6
# bandwidth in bytes/s, delay there and back in s, bytes of a batch, s of work on it, window
CASES = {
    "nothing takes time": (math.inf, 0.0, 128 * 1024, 0.0, 1),
    "memory: one at work, one credit held back": (math.inf, 0.0, MB, 0.002, 2),
    "a local socket": (2000 * MB, 0.0001, 128 * 1024, 0.002, 4),
    "delay alone, as long as ten batches": (math.inf, 0.020, MB, 0.002, 11 + 8),
    "delay shorter than a batch": (math.inf, 0.001, MB, 0.002, 4),
    "more than 8 credits are not held back": (math.inf, 0.2, MB, 0.002, 101 + 8),
    "the link is as slow as the stage": (100 * MB, 0.0, MB, 0.010, 4),
    "the link is ten times slower: it sets the pace": (10 * MB, 0.0, MB, 0.010, 4),
    "a slow link with a long delay": (10 * MB, 0.3, MB, 0.010, 5 + 5),
    "a quarter of the bytes over the same link": (10 * MB, 0.3, MB / 4, 0.010, 14 + 8),
    "nothing is sent": (10 * MB, 0.02, 0.0, 0.010, 6),
}


@pytest.mark.parametrize(
    ("bandwidth", "delay", "size", "work", "window"), CASES.values(), ids=CASES.keys()
)
def test_the_window_that_fills_a_link(
    bandwidth: float, delay: float, size: float, work: float, window: int
) -> None:
    assert window_for(bandwidth, delay, size, work) == window


def test_more_delay_never_needs_less() -> None:
    windows = [window_for(50 * MB, delay / 1000, MB, 0.005) for delay in range(200)]
    assert windows == sorted(windows)
