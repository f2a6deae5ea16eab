"""How it would be in lockstep, by the times that the stages took."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from dni_async.launcher.report.html.timeline.lockstep import (
    StageTime,
    batch_seconds,
    in_lockstep,
    lockstep_times,
    stage_times,
)
from dni_async.launcher.report.html.timeline.recorded import Mark, Trace, read_trace
from tests.launcher.report.html.timeline.test_recorded import path as path
from tests.launcher.reports import report
from tests.launcher.reports import worker as worker_row


def test_stage_times_are_medians_and_lockstep_lays_them_end_to_end(path: Path) -> None:
    trace = read_trace(path)
    assert trace is not None
    lower, upper = stage_times(trace)
    assert lower == pytest.approx(StageTime(0.003, 0.005))
    assert upper == pytest.approx(StageTime(0.0025, 0.002))
    assert batch_seconds(trace) == pytest.approx(0.008)
    told = in_lockstep([StageTime(0.003, 0.005), StageTime(0.002, 0.002)], 1.0, 1.02)
    assert told["period_s"] == pytest.approx(0.012)
    assert [(mark.kind, mark.batch) for mark in told["tracks"][0]["marks"]] == [
        ("forward", 0), ("backward", 0), ("forward", 1), ("backward", 1),
    ]  # fmt: skip
    everything = sorted(mark for track in told["tracks"] for mark in track["marks"])
    for before, after in itertools.pairwise(everything):
        assert after.began_s == pytest.approx(before.ended_s)  # one works, all others wait


def test_a_long_time_of_lockstep_is_told_as_shares() -> None:
    told = in_lockstep([StageTime(0.003, 0.003), StageTime(0.002, 0.0)], 0.0, 100.0)
    assert [track["pieces"] for track in told["tracks"]] == [
        [[0.0, 100.0, 0.75, 0.25, 0.0]],
        [[0.0, 100.0, 0.25, 0.75, 0.0]],
    ]
    assert in_lockstep([StageTime(0.0, 0.0)], 0.0, 1.0)["tracks"] == []


def test_where_threads_share_cores_a_stage_takes_its_processor_time(path: Path) -> None:
    trace = read_trace(path)
    assert trace is not None
    assert lockstep_times(trace, None) == stage_times(trace)
    workers = [worker_row(stage, 0.001) for stage in (0, 1)]  # 1 ms of a core for each batch
    told = report(*workers, rate=4000)
    told["environment"]["cores"] = 1
    lower, upper = lockstep_times(trace, told)
    assert lower == pytest.approx(StageTime(0.001 * 3 / 8, 0.001 * 5 / 8))
    assert sum(upper) == pytest.approx(0.001)


def test_seconds_of_a_batch_hold_no_test() -> None:
    def update(end: float) -> Mark:
        return Mark(end - 0.5, end, "optimize", 0, 0)

    assert batch_seconds(Trace({0: [update(1.0)]})) == 0.0
    test = Mark(4.0, 9.0, "evaluate", 0, 0)
    marks = [update(1.0), update(2.0), update(4.0), test, update(10.0), update(13.0)]
    assert batch_seconds(Trace({0: marks})) == pytest.approx(2.0)
