"""What a worker records of its time, and what it counts."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from dni_async.workers.reporting.spans import NO_BATCH, KeptSpans, Spans
from dni_async.workers.reporting.staleness import Staleness
from dni_async.workers.reporting.tally import Tally


@dataclass
class Updates:
    """Stands for a stage."""

    version: int = 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time, in nanoseconds, as the spans see it."""
    now = [1000]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now[0])
    return now


def written(spans: KeptSpans, path: Path) -> dict[str, object]:
    """What the spans leave in a file."""
    spans.write(path, stage=2, device="cpu")
    left: dict[str, object] = json.loads(path.read_text())
    return left


def test_a_span_lasts_from_the_lap_before_or_from_begin(clock: list[int], tmp_path: Path) -> None:
    stage = Updates()
    spans = KeptSpans(stage)
    clock[0] = 1010
    spans.begin()
    clock[0] = 1015
    spans.lap("forward", 7)
    clock[0] = 1030
    stage.version = 1
    spans.lap("optimize", 7)
    clock[0] = 1050
    spans.begin()
    clock[0] = 1100
    spans.lap("wait")
    left = written(spans, tmp_path / "stage-2.json")
    assert left["fields"] == ["kind", "batch_id", "version", "began_ns", "ended_ns"]
    assert left["spans"] == [
        ["forward", 7, 0, 1010, 1015],
        ["optimize", 7, 1, 1015, 1030],
        ["wait", NO_BATCH, 1, 1050, 1100],
    ]
    assert (left["stage"], left["device"], left["dropped"]) == (2, "cpu", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["stage-2.json"]


def test_the_first_spans_are_kept_and_the_rest_counted(tmp_path: Path) -> None:
    spans = KeptSpans(Updates(), max_spans=3)
    for batch_id in range(10):
        spans.lap("forward", batch_id)
    left = written(spans, tmp_path / "stage-2.json")
    kept = left["spans"]
    assert isinstance(kept, list)
    assert [span[1] for span in kept] == [0, 1, 2]
    assert left["dropped"] == spans.dropped == 7


def test_counts_are_kept_with_their_moments_as_long_as_spans_are(
    clock: list[int], tmp_path: Path
) -> None:
    spans = KeptSpans(Updates(), max_spans=1)
    clock[0] = 1020
    spans.count("window", 3)
    clock[0] = 1030
    spans.count("staleness", 2)
    spans.lap("forward", 7)
    spans.count("window", 2)
    assert written(spans, tmp_path / "stage-2.json")["counts"] == [
        ["window", 3, 1020],
        ["staleness", 2, 1030],
    ]


def test_what_is_new_is_told_to_who_looks_on(clock: list[int], tmp_path: Path) -> None:
    file = tmp_path / "stage-2.spans"
    spans = KeptSpans(Updates(), told=file)
    spans.tell()
    assert not file.exists()
    clock[0] = 1010
    spans.lap("forward", 7)
    spans.tell()
    clock[0] = 1030
    spans.lap("optimize", 7)
    spans.tell()
    spans.tell()
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert told == [["forward", 7, 0, 1000, 1010], ["optimize", 7, 0, 1010, 1030]]
    unseen = KeptSpans(Updates(), told=tmp_path / "missing" / "stage-2.spans")
    unseen.lap("forward", 7)
    unseen.tell()  # the run goes on


def test_without_a_profile_nothing_is_recorded_or_written(tmp_path: Path) -> None:
    off = Spans()
    off.begin()
    off.lap("forward", 1)
    off.count("window", 1)
    off.tell()
    off.write(tmp_path / "stage-0.json", stage=0, device="cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("seen", "median", "p99", "largest"),
    [
        ([], 0, 0, 0),
        ([3], 3, 3, 3),
        ([0, 1, 2, 3], 1, 3, 3),
        ([1] * 98 + [5, 9], 1, 5, 9),
        ([2] * 1000 + [7], 2, 2, 7),
    ],
)
def test_staleness_is_told_by_its_middle_its_tail_and_its_end(
    seen: list[int], median: int, p99: int, largest: int
) -> None:
    counted = Staleness()
    for staleness in seen:
        counted.add(staleness)
    assert (counted.at(0.5), counted.at(0.99), counted.max) == (median, p99, largest)
    counted.clear()
    assert (counted.at(0.5), counted.at(0.99), counted.max) == (0, 0, 0)


def test_occupancy_is_the_mean_at_sending_over_the_window() -> None:
    counted = Tally()
    assert counted.occupancy(4) == -1
    for in_flight in (1, 2, 4, 1):
        counted.sent(in_flight)
    assert counted.occupancy(4) == 0.5


def test_evaluation_is_no_training_time(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, cpu = [100.0], [10.0]
    monkeypatch.setattr(time, "perf_counter", lambda: wall[0])
    monkeypatch.setattr(time, "process_time", lambda: cpu[0])
    counted = Tally()

    def spend(seconds: float, *, waiting: float = 0.0, sending: float = 0.0) -> None:
        wall[0] += seconds
        cpu[0] += seconds / 2
        counted.waited(waiting, for_credits=waiting == 3.0)
        counted.sending_s += sending

    spend(50)  # before the run
    counted.begin()
    spend(10, waiting=3, sending=1)
    assert (counted.training.busy_s, counted.training.cpu_s) == (6, 5)
    counted.pass_marker("trained")
    spend(8, waiting=1, sending=2)
    assert (counted.training.busy_s, counted.training.sending_s) == (6, 1)
    counted.pass_marker("evaluated")
    spend(4, sending=1)
    counted.pass_marker("trained")
    spend(2)
    counted.pass_marker("evaluated")
    counted.pass_marker("stop")
    spend(2)
    assert (counted.training.busy_s, counted.training.sending_s) == (9, 2)
    assert counted.training.cpu_s == 7
    assert counted.busy_s == 26 - 4 - 4
    assert (counted.waiting_s, counted.credit_waiting_s) == (4, 3)
