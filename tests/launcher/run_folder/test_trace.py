"""The spans of several workers become one trace."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from dni_async.launcher.run_folder.trace import (
    Count,
    Span,
    WorkerSpans,
    phase_seconds,
    read_spans,
    trace_events,
    write_trace,
)

BELOW = WorkerSpans(
    0,
    4711,
    "cpu",
    0,
    [
        Span("forward", 5, 0, 1_000_000, 1_004_000),
        Span("send", 5, 0, 1_004_000, 1_010_000),
        Span("backward", 5, 0, 1_010_000, 1_020_000),
        Span("optimize", 5, 1, 1_020_000, 1_022_000),
        Span("wait", -1, 1, 1_022_000, 1_050_000),
        Span("receive gradient", 5, 1, 1_050_000, 1_051_000),
        Span("learn", 5, 1, 1_052_000, 1_055_000),
    ],
    (Count("window", 1, 1_004_000), Count("window", 0, 1_050_000)),
)
ABOVE = WorkerSpans(
    1,
    4712,
    "cuda:0",
    3,
    [
        Span("receive", 5, 0, 1_007_000, 1_009_000),
        Span("forward", 5, 0, 1_010_000, 1_020_000),
        Span("backward", 5, 0, 1_020_000, 1_030_000),
        Span("optimize", 5, 1, 1_030_000, 1_032_000),
        Span("send gradient", 5, 1, 1_032_000, 1_060_000),  # held up after the message had gone
    ],
)


def events(*workers: WorkerSpans, phase: str) -> list[dict[str, Any]]:
    """The trace's events of one phase."""
    return [event for event in trace_events(workers) if event["ph"] == phase]


def test_every_worker_has_a_named_track_in_the_order_of_stages() -> None:
    named = {
        (event["name"], event["tid"]): event["args"] for event in events(BELOW, ABOVE, phase="M")
    }
    assert named == {
        ("process_name", 0): {"name": "dni-async"},
        ("thread_name", 1): {"name": "stage 0 (cpu, pid 4711)"},
        ("thread_sort_index", 1): {"sort_index": 0},
        ("thread_name", 2): {"name": "stage 1 (cuda:0, pid 4712)"},
        ("thread_sort_index", 2): {"sort_index": 1},
    }


def test_spans_are_microseconds_since_the_earliest() -> None:
    first, *_, last = events(BELOW, ABOVE, phase="X")
    assert (first["name"], first["tid"], first["ts"], first["dur"]) == ("forward", 1, 0.0, 4.0)
    assert first["args"] == {"batch_id": 5, "version": 0}
    assert (last["name"], last["tid"], last["ts"], last["dur"]) == ("send gradient", 2, 32.0, 28.0)
    waiting = next(e for e in events(BELOW, phase="X") if e["name"] == "wait")
    assert waiting["args"] == {"version": 1}


def test_counts_are_counters_that_tell_their_stage() -> None:
    counted = (*BELOW.counts, Count("staleness", 2, 1_052_000))
    told = events(dataclasses.replace(BELOW, counts=counted), ABOVE, phase="C")
    assert [(e["name"], e["ts"], e["args"]) for e in told] == [
        ("stage 0 window", 4.0, {"window": 1}),
        ("stage 0 window", 50.0, {"window": 0}),
        ("stage 0 staleness", 52.0, {"staleness": 2}),
    ]


def test_an_arrow_follows_the_activation_up_and_the_gradient_down() -> None:
    arrows = [event for event in trace_events([BELOW, ABOVE]) if event["ph"] in "stf"]
    up = [e for e in arrows if e["name"] == "activation"]
    down = [e for e in arrows if e["name"] == "gradient"]
    assert [(e["ph"], e["tid"]) for e in up] == [("s", 1), ("t", 2), ("f", 2)]
    assert [(e["ph"], e["tid"]) for e in down] == [("s", 2), ("t", 1), ("f", 1)]
    assert len({e["id"] for e in up}) == len({e["id"] for e in down}) == 1
    assert {e["id"] for e in up}.isdisjoint(e["id"] for e in down)
    for way in (up, down):
        assert [e["ts"] for e in way] == sorted(e["ts"] for e in way)
    assert 52 < down[-1]["ts"] < 55  # where it was learnt from
    assert all(e["bp"] == "e" for e in (up[-1], down[-1]))


def test_a_gradient_that_updates_by_replay_ends_at_the_backward_after_its_receipt() -> None:
    lower = WorkerSpans(
        0,
        1,
        "cpu",
        0,
        [
            Span("send", 5, 0, 1_000_000, 1_001_000),
            Span("receive gradient", 5, 4, 1_040_000, 1_041_000),
            Span("backward", 5, 4, 1_041_000, 1_045_000),
            Span("learn", 5, 5, 1_047_000, 1_048_000),
        ],
    )
    ends = [e["ts"] for e in events(lower, ABOVE, phase="f") if e["name"] == "gradient"]
    assert len(ends) == 1
    assert 34 < ends[0] < 45


@pytest.mark.parametrize("forward_ns", [1_001_000, 1_010_000], ids=["ahead", "behind"])
def test_an_activation_that_a_stage_went_on_without_ends_where_it_is_learnt_from(
    forward_ns: int,
) -> None:
    spans = [
        Span("receive", 5, 0, 1_007_000, 1_009_000),
        Span("forward", 5, 0, forward_ns, forward_ns + 4_000),
        Span("learn input", 5, 1, 1_030_000, 1_035_000),
    ]
    upper = WorkerSpans(1, 2, "cpu", 0, sorted(spans, key=lambda span: span.began_ns))
    ends = [e["ts"] for e in events(BELOW, upper, phase="f") if e["name"] == "activation"]
    assert len(ends) == 1
    assert 30 < ends[0] < 35


@pytest.mark.parametrize("missing", ["send", "receive", "forward"])
def test_an_arrow_with_an_end_missing_is_left_out(missing: str) -> None:
    """As where a worker's memory of spans was full."""
    workers = [
        WorkerSpans(w.stage, w.pid, w.device, 9, [s for s in w.spans if s.kind != missing])
        for w in (BELOW, ABOVE)
    ]
    arrows = [e for e in trace_events(workers) if e["ph"] in "stf" and e["name"] == "activation"]
    assert arrows == []


def test_stages_that_left_nothing_leave_no_arrows() -> None:
    far = WorkerSpans(2, 1, "cpu", 0, ABOVE.spans)
    assert events(BELOW, far, phase="s") == []
    assert events(WorkerSpans(0, 1, "cpu", 0, []), phase="X") == []
    assert next(iter(trace_events([])))["name"] == "process_name"


def test_what_workers_left_is_read_and_the_trace_is_json(tmp_path: Path) -> None:
    for worker in (ABOVE, BELOW):
        left = {
            "stage": worker.stage,
            "pid": worker.pid,
            "device": worker.device,
            "dropped": worker.dropped,
            "spans": worker.spans,
            "counts": worker.counts,
        }
        (tmp_path / f"stage-{worker.stage}.json").write_text(json.dumps(left))
    (tmp_path / "torch-stage-1.json").write_text("{}")
    (tmp_path / "stage-9.4711.part").write_text("half a fi")
    assert read_spans(tmp_path, pytest.fail) == [BELOW, ABOVE]
    write_trace(tmp_path / "trace.json", [BELOW, ABOVE])
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert trace["traceEvents"] == list(trace_events([BELOW, ABOVE]))
    write_trace(tmp_path / "trace.json", [])
    assert len(json.loads((tmp_path / "trace.json").read_text())["traceEvents"]) == 1


def test_phases_are_per_update_and_leave_evaluation_out() -> None:
    spans = [
        Span("forward", 0, 0, 0, 3_000),
        Span("optimize", 0, 1, 3_000, 4_000),
        Span("receive", 1, 1, 4_000, 4_500),
        Span("evaluate", 1, 1, 5_000, 9_000),
        Span("wait", -1, 1, 9_000, 99_000),
        Span("forward", 2, 1, 100_000, 105_000),
        Span("optimize", 2, 2, 105_000, 108_000),
    ]
    phases = phase_seconds(WorkerSpans(0, 1, "cpu", 0, spans))
    assert phases == pytest.approx({"forward": 4e-6, "optimize": 2e-6})
    assert phase_seconds(WorkerSpans(0, 1, "cpu", 0, spans[3:5])) == {}


RECORDED = {
    "stage": 2,
    "pid": 1,
    "device": "cpu",
    "dropped": 0,
    "spans": [["forward", 1, 0, 5, 6]],
    "counts": [["window", 1, 5]],
}


@pytest.mark.parametrize(
    "left",
    [
        "",
        "[]",
        "[" * 100_000,
        json.dumps(RECORDED | {"stage": 1}),
        json.dumps(RECORDED | {"pid": "x"}),
        json.dumps(RECORDED | {"device": "\x1b[2J"}),
        json.dumps(RECORDED | {"spans": [["forward", 1]]}),
        json.dumps(RECORDED | {"spans": [["forward", 1, 0, 5, 6.5]]}),
        json.dumps(RECORDED | {"spans": [["<script>", 1, 0, 5, 6]]}),
        json.dumps(RECORDED | {"spans": [[3, 1, 0, 5, 6]]}),
        json.dumps(RECORDED | {"counts": 7}),
        json.dumps({"stage": 2}),
    ],
)
def test_what_a_worker_would_not_record_is_left_out_and_told(tmp_path: Path, left: str) -> None:
    """It may come from another host; the run ends as it would without."""
    (tmp_path / "stage-2.json").write_text(left)
    (tmp_path / "stage-3.json").write_text(json.dumps(RECORDED | {"stage": 3}))
    said: list[str] = []
    assert [worker.stage for worker in read_spans(tmp_path, said.append)] == [3]
    assert len(said) == 1
    assert said[0].startswith("stage-2.json is not what a worker records, and left out of the tra")
