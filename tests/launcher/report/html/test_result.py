"""A run as a piece of HTML: the figures of the report, well-formed, nothing that others wrote."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from dni_async.launcher.report.html.result import MAX_POINTS, draw_result
from tests.launcher.reports import report, worker

NASTY = "<script>alert('&')</script>\x1b"


def text_of(told: dict[str, Any], *notes: str) -> str:
    """All that can be read of it, which also says that it is well-formed."""
    page = draw_result(told, notes)
    assert "<script" not in page
    return " ".join(" ".join(ElementTree.fromstring(page).itertext()).split())


def test_figures_curves_and_notes() -> None:
    said = text_of(report(worker(0, 0.01), rate=1000.0), "first\nsecond")
    for shown in ("digits, rule dni: finished", "50.00% test accuracy", "0.6667 test loss"):
        assert shown in said
    assert "1,000 samples/s" in said
    assert "3 epochs 1 workers" in said
    assert "test accuracy: 0.3 at 3" not in said
    assert "dni: 0.3 at 3" in said  # a point of the curve
    assert said.endswith("what was said first second")
    assert "baseline" not in said


def test_beside_a_baseline_there_is_the_verdict_and_seconds() -> None:
    told = report(worker(0, 0.01), rate=1000.0, baseline=500.0)
    verdict = "2.00x the samples/s"
    told["comparison"] = {"baselines": {"baseline-1-thread": {}}, "verdict": verdict}
    assert "seconds of training" not in text_of(told)
    told["comparison"]["is_comparable"] = True
    said = text_of(told)
    assert "2.00x the samples/s" in said
    assert "baseline-1-thread 1 1 500" in said
    assert "seconds of training" in said
    told["comparison"]["baselines"] = {}
    assert "2.00x the samples/s" not in text_of(told)


@pytest.mark.parametrize("status", ["stopped", "interrupted", "failed"])
def test_a_run_that_ended_early_shows_what_there_is(status: str) -> None:
    told = report(worker(0, 0.01), rate=1000.0, epochs=9)
    told["status"] = status
    (run,) = told["runs"]
    if status == "stopped":
        figures = {"test_loss": 0.25, "test_metrics": {"accuracy": 0.75}}
        run["stopped"] = {"reason": NASTY, **figures}
        assert "75.00% test accuracy 0.2500 test loss" in text_of(told)
        assert "dni was asked to stop: <script>" in text_of(told)
    assert "3 of 9 epochs" in text_of(told)
    run |= {"epochs": [], "test_loss": None, "test_metrics": {}, "metric": "loss"}
    run.pop("stopped", None)
    assert "0 of 9 epochs" in text_of(told)
    told["runs"] = []
    assert text_of(told).endswith(f"digits: {status}")


def test_many_epochs_make_no_large_page() -> None:
    told = report(worker(0, 0.01), rate=1000.0)
    (run,) = told["runs"]
    run["epochs"] = [{**run["epochs"][0], "epoch": epoch + 1} for epoch in range(10_000)]
    page = draw_result(told)
    points = page.split('points="')[1].split('"')[0].split()
    assert MAX_POINTS // 2 < len(points) <= MAX_POINTS + 1
    assert len(page) < 20_000
