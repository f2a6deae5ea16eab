"""The projected curve: what sets the pace is named, and is what arithmetic says."""

from __future__ import annotations

import pytest

from benchmarks.workloads.simulation.calibration import LOCAL, NETWORK, LinkTimes, line_of
from benchmarks.workloads.simulation.projection import SCENARIOS, Point, project
from benchmarks.workloads.simulation.simulation import LinkCost, StageCost
from benchmarks.workloads.simulation.stage_times import StageTimes, ceiling

MS = 1e-3
COST = StageCost(forward_s=4 * MS, update_s=6 * MS, anchor_s=14 * MS, learn_s=2 * MS)
STAGES = [StageTimes(11 * MS, COST)] * 3
FREE = LinkTimes(size_bytes=10**6, latency_s=0.0, lower_cpu_s=0.0, upper_cpu_s=0.0, message_s=0.0)
LINKS = {LOCAL: FREE, NETWORK: FREE}


def curve(num_stages: int, *names: str, window: int = 8, anchor_every: int = 8) -> dict[str, Point]:
    """The points with the run's own anchors, by scenario; without names of all."""
    points = project(
        STAGES,
        LINKS,
        window=window,
        anchor_every=anchor_every,
        stage_counts=[num_stages],
        scenarios=[each for each in SCENARIOS if not names or each.name in names],
    )
    return {p.scenario: p for p in points if p.anchor_every == anchor_every}


def test_every_scenario_has_its_bottleneck() -> None:
    points = curve(4)
    assert list(points) == [scenario.name for scenario in SCENARIOS]
    # Of 8 batches 7 take 10 ms and one 20 ms; 1 MB takes 8 ms on 1 Gb/s and 80 ms on 100 Mb/s.
    for name, bound, rate in (
        ("one host", "stage", 8 / 0.090),
        ("1 Gb/s", "stage", 8 / 0.090),
        ("100 Mb/s", "link", 1 / 0.080),
        ("straggler x4", "stage", 8 / 0.360),
    ):
        assert points[name].bound == bound
        assert points[name].batches_per_second == pytest.approx(rate, rel=0.02)


def test_what_narrows_the_pace_together_is_not_blamed_on_one() -> None:
    """On 16 stages anchors hold most places, and what is left does not hide the transfers."""
    (point,) = curve(16, "1 Gb/s").values()
    assert point.bound == "several"
    assert point.batches_per_second < 0.9 * 8 / 0.090


def test_a_long_line_waits_for_its_anchors() -> None:
    (point,) = curve(256, "one host").values()
    assert point.bound == "anchors"
    # 8 x 8 batches for each way up (forwards) and back (replays) of an anchor.
    assert point.batches_per_second == pytest.approx(64 / (256 * 0.018), rel=0.1)
    for every in (0, 256):
        assert curve(256, "one host", anchor_every=every)["one host"].bound == "stage"


def test_a_round_trip_without_anchors_is_hidden_by_the_window() -> None:
    """25 ms up, 8 ms to transfer, 10 ms of work, 25 ms for the credit: 68 ms per place."""
    for window, seconds in ((1, 0.068), (4, 0.068 / 4), (8, 0.010)):
        (point,) = curve(8, "1 Gb/s, 25 ms", window=window, anchor_every=0).values()
        assert point.batches_per_second == pytest.approx(1 / seconds, rel=0.12)


def test_messages_are_the_stages_work() -> None:
    link = LinkTimes(size_bytes=4, latency_s=5.0, lower_cpu_s=1.0, upper_cpu_s=2.0, message_s=0.0)
    plain = StageTimes(3.0, StageCost(forward_s=1.0, update_s=1.0, anchor_s=1.0))
    line = line_of([plain] * 3, link, window=2, anchor_every=4, cores=2)
    assert [(s.forward_s, s.update_s, s.anchor_s) for s in line.stages] == [
        (2.0, 1.0, 3.0),  # sends; receives a gradient
        (2.0, 3.0, 4.0),  # receives and sends; both for a gradient
        (1.0, 3.0, 2.0),  # receives; sends a gradient
    ]
    assert list(line.links) == [LinkCost(latency_s=5.0)] * 2


def test_the_ceiling_is_the_cores_or_the_slowest_stage() -> None:
    short, long = StageTimes(1.0, COST), StageTimes(2.0, COST)
    assert ceiling([short, long, short], 2) == pytest.approx(2 / 4)
    assert ceiling([short, long, short], 4) == pytest.approx(1 / 2)
    assert ceiling([short, long, short], 1) == pytest.approx(1 / 4)
