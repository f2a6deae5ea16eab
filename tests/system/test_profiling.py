"""A run that is profiled: its trace, its numbers, its report as text and as a page."""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dni_async.launcher.places.local import command_for
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
STAGES = 4
EPOCHS = 2
TRAIN, TEST = 12, 3  # batches of 128 of the 1437 and 360 digits
Event = dict[str, Any]


@pytest.fixture(params=["bootstrap", "anchor"])
def profiled(launch: Callable[..., Launch], request: pytest.FixtureRequest) -> Launch:
    """A run with --profile, finished."""
    run = launch(
        "--profile", f"--epochs={EPOCHS}", f"--targets={request.param}", "--anchor-every=3",
        "--no-baseline",
    )  # fmt: skip
    assert run.end() == 0, run.output
    return run


def test_a_profiled_run_leaves_one_trace_of_all_workers(profiled: Launch) -> None:
    events: list[Event] = json.loads((profiled.run_dir / "trace.json").read_text())["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    pids = profiled.worker_pids()
    assert list(names.values()) == [f"stage {k} (cpu, pid {pids[k]})" for k in range(STAGES)]
    spans = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            spans[event["tid"]].append(event)
    assert spans.keys() == names.keys()
    for track in spans.values():
        assert_apart(track)
    up = [compute_times(spans[track]) for track in sorted(spans)]
    batches = set(range(EPOCHS * (TRAIN + TEST)))
    assert all(times.keys() == batches for times in up)  # every batch was at every stage
    for below, above in pairwise(up):
        assert all(below[batch] < above[batch] for batch in batches)  # and in that order
    for track in spans.values():
        versions = [e["args"]["version"] for e in track]
        assert versions == sorted(versions)
        assert versions[-1] == EPOCHS * TRAIN
    assert_arrows_arrive([e for e in events if e["ph"] in "stf"], spans)
    assert_counters_fit(events, profiled.report()["runs"][0]["workers"])
    assert not (profiled.run_dir / "profile").exists()
    profiled.assert_nothing_left()


def assert_apart(track: list[Event]) -> None:
    """The spans of one worker follow each other; it has one thread."""
    ordered = sorted(track, key=lambda e: (e["ts"], e["ts"] + e["dur"]))
    assert ordered[0]["ts"] >= 0
    for before, after in pairwise(ordered):
        assert before["ts"] + before["dur"] <= after["ts"] + 1e-3  # rounding


def compute_times(track: list[Event]) -> dict[int, float]:
    """When each batch's activation was computed; that is once."""
    computed = [e for e in track if e["name"] in ("forward", "evaluate")]
    times = {e["args"]["batch_id"]: e["ts"] for e in computed}
    assert len(times) == len(computed)
    return times


def assert_counters_fit(events: list[Event], workers: list[dict[str, Any]]) -> None:
    """Windows fill and empty, within their bounds; staleness is what the report says of it."""
    values = defaultdict(list)
    for event in events:
        if event["ph"] == "C":
            (value,) = event["args"].values()
            values[event["name"]].append(value)
    for stage, worker in enumerate(workers[:-1]):
        window, staleness = values[f"stage {stage} window"], values[f"stage {stage} staleness"]
        assert (min(window), window[-1]) == (0, 0)
        assert 1 <= max(window) <= 16
        assert len(window) == 2 * EPOCHS * (TRAIN + TEST)  # each batch goes and is released
        assert max(staleness) == worker["max_staleness"]
    assert len(values) == 2 * (STAGES - 1)  # the head has neither


def assert_arrows_arrive(arrows: list[Event], spans: dict[int, list[Event]]) -> None:
    """Every arrow starts once, ends once, later, one stage further, within spans that fit."""
    by_id = defaultdict(list)
    for event in arrows:
        by_id[event["id"]].append(event)
    ways: dict[tuple[str, int], int] = defaultdict(int)
    for way in by_id.values():
        start, *_, end = sorted(way, key=lambda e: e["ts"])
        assert sorted(e["ph"] for e in way) == ["f", "s", "t"]
        assert (start["ph"], end["ph"]) == ("s", "f")
        assert end["tid"] - start["tid"] == (1 if start["name"] == "activation" else -1)
        ends = {
            "activation": ("forward", "evaluate"),
            "gradient": ("backward", "carry back", "learn"),
        }
        assert covering(start, spans)["name"].startswith("send")
        assert covering(end, spans)["name"] in ends[start["name"]]
        assert (
            covering(start, spans)["args"]["batch_id"] == covering(end, spans)["args"]["batch_id"]
        )
        ways[start["name"], start["tid"]] += 1
    for track in range(1, STAGES):
        assert ways["activation", track] == EPOCHS * (TRAIN + TEST)
        assert ways["gradient", track + 1] in (EPOCHS * TRAIN, EPOCHS * TRAIN // 3)


def covering(point: Event, spans: dict[int, list[Event]]) -> Event:
    """The span that a viewer draws an arrow's end at."""
    found = [
        span
        for span in spans[point["tid"]]
        if span["ts"] <= point["ts"] <= span["ts"] + span["dur"]
    ]
    assert len(found) == 1
    return found[0]


def test_the_report_tells_each_stage_and_what_bounds_the_run(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    run = launch(
        "--profile", "--torch-profiler=2", "--epochs=4", "--width=512", "--window=4",
        "--no-baseline",
    )  # fmt: skip
    assert run.end() == 0, run.output
    workers = run.report()["runs"][0]["workers"]
    for worker in workers:
        assert worker["train_cpu_seconds"] > 0
        assert 0 < worker["train_busy_seconds"] < 60
        assert worker["staleness_median"] <= worker["staleness_p99"] <= worker["max_staleness"]
        assert worker["peak_rss_bytes"] > 50 * 2**20
        assert worker["frame_bytes"] > 0
        assert 0 <= worker["waiting_for_credits"] <= worker["waiting"] + 1e-4
        assert {"forward", "backward", "optimize"} <= worker["phases"].keys()
        assert "evaluate" not in worker["phases"]
    assert all(0.25 <= worker["occupancy"] <= 1 for worker in workers[:-1])
    assert workers[-1]["occupancy"] is None
    assert workers[-1]["waiting_for_credits"] == 0  # nobody above
    assert workers[0]["shared_bytes"] > 4 * TRAIN * 128 * 512  # most activations, at 4 bytes a unit
    kept = json.loads((run.run_dir / "profile" / "torch-stage-2.json").read_text())
    assert any("addmm" in event.get("name", "") for event in kept["traceEvents"])
    page = tmp_path / "page.html"
    done = subprocess.run(
        command_for("dni_async.launcher.commands.report", str(run.run_dir), "--html", str(page)),
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "is the bottleneck: it works" in done.stdout
    assert "of the ceiling of" in done.stdout
    assert ElementTree.parse(page).getroot().tag == "html"
    assert "http" not in page.read_text(encoding="utf-8")


def test_a_second_run_in_the_same_place_starts_clean(launch: Callable[..., Launch]) -> None:
    flags = ["--epochs=1", "--layers=2", "--no-baseline"]
    first = launch(*flags, "--profile")
    assert first.end() == 0, first.output
    again = launch(*flags, "--profile", "--overwrite", run_dir=first.run_dir)
    assert again.end() == 0, again.output
    plain = launch(*flags, "--overwrite", run_dir=first.run_dir)
    assert plain.end() == 0, plain.output
    assert not (first.run_dir / "trace.json").exists()
    assert plain.report()["runs"][0]["workers"][0]["phases"] == {}


def test_an_interrupted_run_keeps_what_was_recorded(launch: Callable[..., Launch]) -> None:
    run = launch("--profile", "--epochs=1000", "--no-baseline")
    run.wait_for(r"epoch +2 ")
    run.interrupt()
    assert run.end() == 130, run.output
    trace = json.loads((run.run_dir / "trace.json").read_text())
    assert len({event["tid"] for event in trace["traceEvents"] if event["ph"] == "X"}) == STAGES
    run.assert_nothing_left()


def test_a_stage_that_does_not_exist_cannot_be_profiled(launch: Callable[..., Launch]) -> None:
    run = launch("--torch-profiler=4")
    assert run.end() == 2
    assert "torch_profiler: stage 4 does not exist; there are 4 (0 to 3)" in run.output
    assert not run.run_dir.exists()
