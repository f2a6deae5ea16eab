"""The last marks of a run that goes on, as its workers tell them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dni_async.files import names
from dni_async.launcher.dashboard import told_marks
from dni_async.launcher.dashboard.timelines import told_timeline
from dni_async.launcher.dashboard.told_marks import read_told
from tests.launcher.dashboard.test_header import moment
from tests.launcher.told import decoupled

MS = 1_000_000  # in nanoseconds
OPENED_S = 5.0


def tell(folder: Path, stage: int, *spans: tuple[str, int, int, int], more: str = "") -> None:
    """A worker tells: kind, batch, and milliseconds from and to, since the dashboard was opened."""
    profile = folder / names.PROFILE
    profile.mkdir(exist_ok=True)
    zero = int(OPENED_S * 1000)
    lines = [
        json.dumps([kind, batch, 7, (zero + begin) * MS, (zero + end) * MS])
        for kind, batch, begin, end in spans
    ]
    (profile / names.told_spans(stage)).write_text("\n".join([*lines, more]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of two stages that tell, the upper one a little less."""
    tell(
        tmp_path, 0,
        ("forward", 3, 0, 2), ("send", 3, 2, 3), ("wait", -1, 3, 40), ("carry back", 3, 40, 50),
        more='["forward",4,8,50',
    )  # fmt: skip
    tell(tmp_path, 1, ("forward", 3, 10, 20), ("send gradient", 3, 20, 30))
    return tmp_path


def test_whole_lines_are_marks_and_what_was_sent_is_followed_to_its_use(folder: Path) -> None:
    tell(folder, 1, ("wait", -1, 0, 10), ("forward", 3, 10, 20), ("send gradient", 3, 20, 50))
    told = read_told(folder, OPENED_S)
    assert told is not None
    kinds = {stage: [mark.kind for mark in marks] for stage, marks in told.trace.marks.items()}
    assert kinds == {
        0: ["forward", "send", "wait", "carry back"],
        1: ["wait", "forward", "send gradient"],
    }
    assert told.trace.marks[0][1] == pytest.approx((0.002, 0.003, "send", 3, 7))
    up, down = told.trace.arrows
    assert (up.kind, up.start, up.end, down.kind, down.start, down.end) == (
        "activation", 0, 1, "gradient", 1, 0,
    )  # fmt: skip
    assert (*up[:2], *down[:2]) == pytest.approx((0.002, 0.010, 0.020, 0.040))


def test_an_activation_that_was_not_waited_for_is_followed_to_what_it_teaches(
    tmp_path: Path,
) -> None:
    tell(tmp_path, 0, ("forward", 3, 4, 5), ("send", 3, 5, 6), ("wait", -1, 6, 40))
    upper = [("forward", 3, 0, 2), ("receive", 3, 7, 8), ("learn input", 3, 8, 10)]
    tell(tmp_path, 1, *upper, ("wait", -1, 10, 40))
    told = read_told(tmp_path, OPENED_S)
    assert told is not None
    (arrow,) = told.trace.arrows
    assert arrow[:2] == pytest.approx((0.005, 0.008))


def test_it_is_as_far_as_all_workers_tell(folder: Path) -> None:
    def window(length_s: float) -> tuple[float, float]:
        told = read_told(folder, OPENED_S, length_s)
        assert told is not None
        return told.began_s, told.ended_s

    assert window(10.0) == pytest.approx((0.010, 0.030))
    assert window(0.005) == pytest.approx((0.025, 0.030))
    tell(folder, 0, ("forward", 9, 4000, 4010))  # stage 1 has told nothing for seconds
    assert window(0.005) == pytest.approx((4.005, 4.010))


def test_of_workers_that_told_at_different_moments_both_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_marks, "MAX_MARKS", 3)
    tell(tmp_path, 0, *(("forward", batch, batch, batch + 1) for batch in range(10)))
    tell(tmp_path, 1, *(("forward", batch, batch, batch + 1) for batch in range(100)))
    told = read_told(tmp_path, OPENED_S)
    assert told is not None
    assert (told.began_s, told.ended_s) == pytest.approx((0.007, 0.010))
    batches = [[mark.batch for mark in marks] for marks in told.trace.marks.values()]
    assert batches == [[7, 8, 9], [7, 8, 9]]


def test_of_a_long_file_the_end_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_marks, "MAX_BYTES", 100)
    told = read_told(folder, OPENED_S)
    assert told is not None
    assert len(told_marks._whole_lines(folder / names.PROFILE / names.told_spans(0))) == 1


def test_the_timeline_of_such_a_run_has_every_mark(folder: Path, tmp_path: Path) -> None:
    marks = read_told(folder, OPENED_S)
    told = told_timeline(moment(decoupled()), marks, is_lockstep=False)
    assert told["source"] == "told"
    assert [len(track["marks"]) for track in told["tracks"]] == [1, 2]
    lockstep = told_timeline(moment(decoupled()), marks, is_lockstep=True)
    first = lockstep["tracks"][0]["marks"][0]
    assert (first.kind, first.began_s) == ("forward", pytest.approx(0.010))
    assert read_told(tmp_path / "elsewhere", OPENED_S) is None
