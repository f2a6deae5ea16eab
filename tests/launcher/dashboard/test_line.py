"""The boxes and links of a line, from what workers tell and from a report."""

from __future__ import annotations

import dataclasses

import pytest

from dni_async.launcher.dashboard.line import told_line, told_restarts, written_line
from dni_async.launcher.report.results import RestartResult
from tests.launcher.dashboard.test_header import PACE, moment
from tests.launcher.reports import boundary, link, report, worker
from tests.launcher.told import EPOCH, baseline, decoupled


def test_a_box_is_labelled_by_what_its_stage_does_most() -> None:
    boxes, links = told_line(moment(decoupled(EPOCH)))
    assert [box["state"] for box in boxes] == ["busy", "down"]  # nobody has taken its place yet
    assert (boxes[0]["batch"], boxes[0]["version"], boxes[0]["cosine"]) == (499, 10, 0.5)
    assert (boxes[1]["restarts"], boxes[1]["cosine"]) == (1, None)
    assert [each["boundary"] for each in links] == [0]
    assert (links[0]["activations_per_second"], links[0]["norm_ratio"]) == (20.0, 0.25)


@pytest.mark.parametrize(
    ("shares", "state"),
    [((0.2, 0.7, 0.1), "waiting"), ((0.2, 0.3, 0.5), "sending"), ((0.6, 0.2, 0.2), "busy")],
)
def test_waiting_and_sending_have_their_own_words(
    shares: tuple[float, float, float], state: str
) -> None:
    busy, waiting, sending = shares
    now = moment(decoupled())
    pace = dataclasses.replace(PACE, busy=busy, waiting=waiting, sending=sending)
    stages = {0: dataclasses.replace(now.stages[0], recent=((21.0, pace),))}
    boxes, _ = told_line(dataclasses.replace(now, stages=stages))
    assert [box["state"] for box in boxes] == [state, "down"]


def test_a_stage_is_silent_after_a_while_and_done_with_the_line() -> None:
    run = decoupled(EPOCH)
    run.restarts.clear()
    late = dataclasses.replace(moment(run), at_s=30.0)
    assert [box["state"] for box in told_line(late)[0]] == ["silent", "silent"]
    for over in (moment(run, baseline()), moment(run, status="failed")):
        boxes, links = told_line(over)
        assert [box["state"] for box in boxes] == ["done", "done"]
        assert "updates_per_second" not in boxes[0] | links[0]
        assert boxes[0]["waiting"] == pytest.approx(2 / 3.5, abs=1e-4)  # of all its time


def test_before_a_stage_has_told_anything_it_starts() -> None:
    run = decoupled()
    run.restarts.clear()
    boxes, links = told_line(moment(run, stages={}))
    assert [box["state"] for box in boxes] == ["starting", "starting"]
    assert links == [{"boundary": 0}]
    assert told_line(moment(facts=None)) == ([], [])


def test_restarts_are_told_with_their_causes() -> None:
    run = decoupled()
    run.restarts.append(RestartResult(0, "<b>said</b>", 1.23456, 0.5))
    assert told_restarts(run) == [
        {"stage": 1, "cause": "killed", "at_seconds": 0.1, "seconds": None},
        {"stage": 0, "cause": "<b>said</b>", "at_seconds": 1.235, "seconds": 0.5},
    ]


def test_a_report_gives_the_same_boxes_and_links() -> None:
    written = report(worker(0, 0.01), worker(1, 0.02), rate=100.0)
    run = written["runs"][0]
    run["links"], run["boundaries"] = [link(0)], [boundary(0, 0.25, 0.5)]
    run["restarts"] = [{"stage": 1, "at_seconds": 1.0, "seconds": None}]
    boxes, links = written_line(run)
    assert [(box["layers"], box["state"], box["restarts"]) for box in boxes] == [
        ("0", "done", 0), ("1", "done", 1),
    ]  # fmt: skip
    assert (boxes[0]["busy"], boxes[0]["cosine"], boxes[1]["cosine"]) == (0.5, 0.5, None)
    assert (links[0]["in_flight"], links[0]["credit_ms"], links[0]["cosine"]) == (2.0, 4.0, 0.5)
