"""Which part of which timeline is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from dni_async.launcher.dashboard.timelines import Timelines, told_timeline
from tests.launcher.dashboard.test_header import moment
from tests.launcher.report.html.timeline.test_recorded import path as path
from tests.launcher.told import decoupled


def test_a_run_that_goes_on_shows_its_last_seconds_by_counters() -> None:
    told = told_timeline(moment(decoupled()), is_lockstep=False)
    assert (told["source"], told["began_s"], told["ended_s"]) == ("counters", 11.0, 21.0)
    assert [len(track["pieces"]) for track in told["tracks"]] == [1, 2]
    assert told["tracks"][0]["pieces"] == [[20.5, 21.0, 0.5, 0.25, 0.125]]
    assert told["batch_s"] == pytest.approx(0.05)  # 20 updates a second
    assert told["lockstep_s"] == pytest.approx(0.2)  # two stages, 10 updates in a second each
    lockstep = told_timeline(moment(decoupled()), is_lockstep=True)
    kinds = [[mark.kind for mark in track["marks"][:2]] for track in lockstep["tracks"]]
    assert kinds == [["forward", "backward"]] * 2
    assert told_timeline(moment(decoupled(), stages={}), is_lockstep=False)["tracks"] == []


def test_in_lockstep_nobody_waits_for_a_core() -> None:
    run = decoupled()
    assert told_timeline(moment(run), is_lockstep=True)["lockstep_s"] == pytest.approx(0.2)
    run.num_threads = 4  # of two workers on two cores: a core is half a thread's
    assert told_timeline(moment(run), is_lockstep=True)["lockstep_s"] == pytest.approx(0.1)


def test_a_window_stays_within_the_trace(path: Path) -> None:
    timelines = Timelines()

    def window(began_s: float | None, length_s: float | None) -> tuple[float, float]:
        told = timelines.of(path.parent, began_s, length_s, is_lockstep=False)
        return round(told["began_s"], 6), round(told["ended_s"], 6)

    assert window(None, 0.004) == (0.008, 0.012)
    assert window(1e9, 0.004) == (0.012, 0.016)
    assert window(-5.0, 0.004) == (0.0, 0.004)
    assert window(0.0, 99.0) == (0.0, 0.016)
    assert window(0.0, -1.0) == (0.0, 0.00001)


def test_a_run_without_a_trace_says_so(tmp_path: Path) -> None:
    told = Timelines().of(tmp_path, None, None, is_lockstep=False)
    assert (told["source"], told["tracks"]) == ("none", [])
