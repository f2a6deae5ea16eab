"""The simulated line, held to schedules that were worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.workloads.simulation.simulation import (
    Line,
    LinkCost,
    Outcome,
    StageCost,
    simulate,
    slowed,
)

EVEN = StageCost(forward_s=2, update_s=1)
SHORT = StageCost(forward_s=1, update_s=1)
NEAR = LinkCost()
FAR = LinkCost(latency_s=10)
NARROW = LinkCost(size_bytes=50, bytes_per_s=10)
ANCHORED = StageCost(forward_s=1, update_s=1, anchor_s=3, learn_s=2)
ANCHORED_HEAD = StageCost(forward_s=1, update_s=1, anchor_s=3)


def line(*stages: StageCost, link: LinkCost = NEAR, window: int = 4, **options: int) -> Line:
    """Stages with the same link between each two."""
    return Line(stages=stages, links=[link] * (len(stages) - 1), window=window, **options)


BOTTLENECK = (
    StageCost(forward_s=1, update_s=0),
    StageCost(forward_s=3, update_s=1),
    StageCost(forward_s=2, update_s=0),
)

# name, line, batches, seconds until the head is done with all, most batches in flight
SCHEDULES = [
    ("one stage works without a pause", line(EVEN), 4, 12, 1),
    # 0: |F F u|F F u|F F u|F F u|
    # 1:      |F F u|F F u|F F u|F F u|
    ("two stages on two cores overlap", line(EVEN, EVEN), 4, 14, 2),
    ("two stages on one core take turns", line(EVEN, EVEN, cores=1), 2, 12, 1),
    ("and gain nothing", line(EVEN, EVEN, cores=1, window=1), 2, 12, 1),
    # The middle ends a forward every 4, the first at 4; the head needs 2 more.
    ("the slowest stage sets the pace", line(*BOTTLENECK, window=2), 5, 22, 3),
    # Up 10, forward and update 2, credit down 10, next forward 1: a period of 23.
    ("window 1 shows the latency", line(SHORT, SHORT, link=FAR, window=1), 3, 2 * 23 + 13, 1),
    ("window 12 hides it", line(SHORT, SHORT, link=FAR, window=12), 20, 19 * 2 + 13, 7),
    ("window 11 hides nearly all", line(SHORT, SHORT, link=FAR, window=11), 12, 23 + 13, 7),
    # Sent at 1, 3, 5; on the link from 1, 6, 11 for 5 each.
    ("a narrow link passes one tensor after another", line(SHORT, SHORT, link=NARROW), 3, 18, 3),
    # The anchor, batch 0, keeps its place until 5; with two places batch 1 does not care.
    (
        "an anchor keeps one place",
        line(ANCHORED, ANCHORED_HEAD, window=2, anchor_every=2),
        2,
        7,
        2,
    ),
    # Gradient back at 5, replay until 8, learn until 10, then batch 1: 11 at the head, done at 13.
    (
        "with window 1 the anchor is waited for, and goes first",
        line(ANCHORED, ANCHORED_HEAD, window=1, anchor_every=2),
        2,
        13,
        1,
    ),
    # As above, but updated from 1 to 3 while its gradient is on the way, and back at 5.
    (
        "an anchor that updates at once has a head start",
        line(replace(ANCHORED, head_start_s=2), ANCHORED_HEAD, window=1, anchor_every=2),
        2,
        13,
        1,
    ),
    # Forwards until 3, head 6, middle 9, source 12; the same again from there.
    (
        "an anchor comes down through every stage",
        line(*[StageCost(forward_s=1, update_s=9, anchor_s=3)] * 3, window=1, anchor_every=1),
        2,
        12 + 6,
        1,
    ),
]


@pytest.mark.parametrize(
    ("given", "num_batches", "seconds", "in_flight"),
    [row[1:] for row in SCHEDULES],
    ids=[row[0] for row in SCHEDULES],
)
def test_schedules(given: Line, num_batches: int, seconds: float, in_flight: int) -> None:
    outcome = simulate(given, num_batches)
    assert outcome.seconds == pytest.approx(seconds)
    assert outcome.max_in_flight == in_flight
    assert outcome.batches_per_second == pytest.approx(num_batches / seconds)


def test_busy_shares_are_of_each_stages_own_time() -> None:
    outcome = simulate(line(*BOTTLENECK, window=2), 5)
    # The source works 5 of its 14 s, the middle always, the head 10 of the 18 s from 4 to 22.
    assert outcome.busy == pytest.approx((5 / 14, 1, 10 / 18))
    assert outcome.max_pending == (2, 1, 0)


def test_a_warm_up_is_not_counted() -> None:
    outcome = simulate(line(*BOTTLENECK, window=2), 5, warmup=2)
    assert outcome.num_batches == 3
    assert outcome.batches_per_second == pytest.approx(1 / 4)
    assert outcome.busy[1] == pytest.approx(1)


def rate(given: Line) -> float:
    """Batches per second once the line has filled."""
    return simulate(given, 200, warmup=100).batches_per_second


def test_a_straggler_sets_the_pace_wherever_it_stands() -> None:
    even = line(*[EVEN] * 5)
    assert rate(even) == pytest.approx(1 / 3)
    for stage in range(5):
        assert rate(slowed(even, stage, 4)) == pytest.approx(1 / 12)


def test_cores_are_shared_out() -> None:
    for cores in (1, 2, 5):
        assert rate(line(*[EVEN] * 5, cores=cores)) == pytest.approx(cores / (5 * 3), rel=0.03)


def test_anchors_in_flight_bound_the_rate_of_a_long_line() -> None:
    """window anchors may be out at once: window x anchor_every batches for each way up and back."""
    cost = StageCost(forward_s=1, update_s=0, anchor_s=1)
    for window, every in ((1, 1), (2, 1), (4, 2)):
        given = line(*[cost] * 20, window=window, anchor_every=every)
        assert rate(given) == pytest.approx(window * every / (2 * 20), rel=0.1)


def test_same_line_same_outcome() -> None:
    given = line(*[ANCHORED] * 6, ANCHORED_HEAD, link=FAR, anchor_every=3, cores=2)
    assert isinstance(simulate(given, 50), Outcome)
    assert simulate(given, 50) == simulate(given, 50)


@pytest.mark.parametrize(("links", "window"), [(0, 4), (2, 4), (1, 0)])
def test_a_line_that_does_not_fit_together_is_refused(links: int, window: int) -> None:
    with pytest.raises(ValueError, match="2 stages"):
        Line(stages=[EVEN, EVEN], links=[NEAR] * links, window=window)
