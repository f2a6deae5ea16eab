"""The window that fills a link: its figures in, a count out; and found as a run goes."""

from __future__ import annotations

import math

import pytest

from dni_async.decisions.windows import LinkCounts, WindowControl, window_for

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


def counts(
    *, seconds: float = 1.0, blocked: float = 0.0, released: int, trip: float, least: float = 0.050
) -> LinkCounts:
    """A link after so many seconds, with trips that all took that long but one."""
    return LinkCounts(seconds, blocked, released, trip * released, least)


LOOKS = {
    # The window before, what was counted in a second; the window after.
    "distance alone keeps the stage waiting": (
        16,
        counts(released=280, trip=0.057, blocked=0.6),
        32,
    ),
    "a little of it does not count": (16, counts(released=280, trip=0.057, blocked=0.09), 16),
    "it does not go beyond the places there are": (
        48,
        counts(released=800, trip=0.060, blocked=0.5),
        64,
    ),
    "batches wait for one another: a slow link, or a slow stage": (
        16,
        counts(released=40, trip=0.400, blocked=0.9),
        16,
    ),
    "a wide window that queues goes back to what is on its way": (
        64,
        counts(released=240, trip=0.260, blocked=0.9),
        12 + 8,
    ),
    "the same, and never below where it began": (
        64,
        counts(released=100, trip=0.640, blocked=0.9),
        16,
    ),
    "a wide window that is not needed is not filled either": (
        64,
        counts(released=240, trip=0.060),
        64,
    ),
    "not every place has come back yet": (16, counts(released=15, trip=0.057, blocked=0.9), 16),
}


@pytest.mark.parametrize(("before", "seen", "after"), LOOKS.values(), ids=LOOKS.keys())
def test_one_look_at_a_link(before: int, seen: LinkCounts, after: int) -> None:
    control = WindowControl(16, 64)
    control.window = before
    assert control.look(seen) == (after != before)
    assert control.window == after


def test_a_look_counts_from_the_one_before_that_could_tell_something() -> None:
    control = WindowControl(4, 64)
    assert not control.look(LinkCounts(1.0, 0.0, 3, 0.15, 0.05))  # too few places came back
    assert control.look(LinkCounts(2.0, 1.0, 40, 2.0, 0.05))
    assert control.window == 8
    assert not control.look(LinkCounts(3.0, 1.0, 80, 4.0, 0.05))  # blocked before, not since
    assert control.look(LinkCounts(4.0, 1.5, 120, 6.0, 0.05))
    assert control.window == 16


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.05, 0.2])
@pytest.mark.parametrize("stage_s", [0.0005, 0.002, 0.02])
@pytest.mark.parametrize("travel_s", [0.0, 0.001, 0.05])
def test_the_window_that_is_found_keeps_a_line_going_and_no_long_queue(
    delay_s: float, stage_s: float, travel_s: float
) -> None:
    """A link and the stage above it by their equations: as many pass as the slower one lets."""
    control = WindowControl(16, 256)
    least_s = travel_s + delay_s + stage_s
    slowest_s = max(stage_s, travel_s)
    now_s = blocked_s = trips_s = 0.0
    released = 0
    for _ in range(40):
        rate = min(1 / slowest_s, control.window / least_s)
        is_starved = rate < 1 / slowest_s
        trip_s = control.window / rate  # Little's law: the stage below is never short of batches
        now_s += 0.5
        blocked_s += 0.45
        released += int(rate * 0.5)
        trips_s += trip_s * int(rate * 0.5)
        control.look(LinkCounts(now_s, blocked_s, released, trips_s, least_s))
    wanted = least_s / slowest_s
    assert control.window >= min(wanted, 256) or not is_starved
    assert control.window <= max(16, 4 * wanted + 8)
