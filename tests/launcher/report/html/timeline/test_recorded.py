"""What all workers did when, by the trace they left."""

from __future__ import annotations

from pathlib import Path

import pytest

from dni_async.launcher.report.html.timeline import recorded
from dni_async.launcher.report.html.timeline.recorded import read_trace, window_of
from dni_async.launcher.run_folder.trace import Span, WorkerSpans, write_trace

MS = 1_000_000  # in nanoseconds


def worker(stage: int, *spans: tuple[str, int, int, int]) -> WorkerSpans:
    """What a worker recorded: kind, batch, and milliseconds from and to."""
    kept = [Span(kind, batch, 7, begin * MS, end * MS) for kind, batch, begin, end in spans]
    return WorkerSpans(stage, 100 + stage, "cpu", 0, kept)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A trace of two batches through two stages."""
    lower = worker(
        0,
        ("forward", 0, 0, 2), ("send", 0, 2, 3), ("backward", 0, 3, 7), ("optimize", 0, 7, 8),
        ("forward", 1, 8, 10), ("send", 1, 10, 11), ("backward", 1, 11, 15),
        ("optimize", 1, 15, 16),
    )  # fmt: skip
    upper = worker(
        1,
        ("wait", -1, 0, 3), ("receive", 0, 3, 4), ("forward", 0, 4, 6), ("optimize", 0, 6, 8),
        ("wait", -1, 8, 12), ("receive", 1, 12, 13), ("forward", 1, 13, 14),
        ("optimize", 1, 14, 16),
    )  # fmt: skip
    write_trace(tmp_path / "trace.json", [lower, upper])
    return tmp_path / "trace.json"


def test_a_window_has_the_marks_that_lie_in_it_and_the_arrows(path: Path) -> None:
    trace = read_trace(path)
    assert trace is not None
    assert trace.end_s == pytest.approx(0.016)
    window = window_of(trace, 0.0025, 0.0045)
    kinds = [[mark.kind for mark in track["marks"]] for track in window["tracks"]]
    assert kinds == [["send", "backward"], ["wait", "receive", "forward"]]
    (arrow,) = window["arrows"]
    assert (arrow.kind, arrow.start, arrow.end) == ("activation", 0, 1)
    assert 0.002 < arrow.began_s < 0.003 < 0.004 < arrow.ended_s < 0.006
    assert window["tracks"][0]["marks"][1].version == 7


def test_where_there_are_too_many_marks_shares_stand_for_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "MAX_DRAWN", 3)
    monkeypatch.setattr(recorded, "NUM_PIECES", 4)
    trace = read_trace(path)
    assert trace is not None
    tracks = window_of(trace, 0.0, 0.016)["tracks"]
    assert [[piece[2:] for piece in track["pieces"]] for track in tracks] == [
        [[0.75, 0.0, 0.25], [1.0, 0.0, 0.0], [0.75, 0.0, 0.25], [1.0, 0.0, 0.0]],
        [[0.25, 0.75, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
    ]
    assert tracks[0]["pieces"][1][:2] == [0.004, 0.008]


@pytest.mark.parametrize("text", ["", "[]", '{"ph": 3}\n', '{"ph":"X"}\n', '{"ph":"X","tid":"a"'])
def test_what_is_no_trace_of_ours_gives_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text(text)
    assert read_trace(tmp_path / "trace.json") is None
    assert read_trace(tmp_path / "nowhere.json") is None


def test_a_trace_is_read_up_to_a_bound_of_every_stage_alike(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "MAX_SPANS", 8)
    trace = read_trace(path)
    assert trace is not None
    assert {stage: len(marks) for stage, marks in trace.marks.items()} == {0: 4, 1: 4}
    assert trace.end_s == pytest.approx(0.008)
    assert len(trace.arrows) == 1
    monkeypatch.setattr(recorded, "MAX_SPANS", 4)
    trace = read_trace(path)
    assert trace is not None
    kinds = {stage: [mark.kind for mark in marks] for stage, marks in trace.marks.items()}
    assert kinds == {0: ["forward", "send"], 1: ["wait"]}  # stage 0 is known for three milliseconds
    assert trace.arrows == []
