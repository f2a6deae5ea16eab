"""Several runs side by side: what came of each, how they differ, what may be compared."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.launcher.report.shelf.comparing import compare
from tests.launcher.reports import report, worker


def told(*figures: float, metric: str = "accuracy", **config: Any) -> dict[str, Any]:
    """A run that tested so after each of its epochs, half a second each."""
    written = report(worker(0, 0.01), rate=100.0, cores=2, **config)
    run = written["runs"][0]
    run["metric"], run["mode"] = metric, "min" if metric == "loss" else "max"
    run["epochs"] = [
        {
            "epoch": epoch,
            "seconds": 0.5,
            "train_loss": 1.0,
            "test_loss": figure if metric == "loss" else 1.0,
            "test_metrics": {} if metric == "loss" else {metric: figure},
        }
        for epoch, figure in enumerate(figures, start=1)
    ]
    return written


def test_each_is_timed_up_to_what_all_of_them_reached() -> None:
    quick, slow = told(0.5, 0.9, 0.8), told(0.2, 0.5, 0.6)
    compared = compare([("quick", quick), ("slow", slow)])
    assert compared["level"] == 0.6
    assert [row["seconds_to_level"] for row in compared["runs"]] == [1.0, 1.5]
    assert [(row["best"], row["best_epoch"]) for row in compared["runs"]] == [(0.9, 2), (0.6, 3)]
    losses = compare([("a", told(2.0, 0.5, metric="loss")), ("b", told(1.0, 1.5, metric="loss"))])
    assert losses["level"] == 1.0
    assert [row["seconds_to_level"] for row in losses["runs"]] == [1.0, 0.5]


def test_a_test_that_lost_samples_is_no_best() -> None:
    lucky = told(0.5, 1.0, 0.6)
    for epoch, count in zip(lucky["runs"][0]["epochs"], (200, 3, 200), strict=True):
        epoch["num_tested"] = count
    (row,) = compare([("lucky", lucky)])["runs"]
    assert (row["best"], row["best_epoch"]) == (0.6, 3)


def test_runs_alike_in_data_metric_and_machine_compare() -> None:
    compared = compare([("a", told(0.5, width=64)), ("b", told(0.5, width=128))])
    assert compared["settings"] == [{"name": "width", "values": ["64", "128"]}]
    assert compared["machine"] == []
    assert compared["notes"] == [
        "the same data and metric, and no other work beside them: speeds and figures compare"
    ]


def changed(place: str, key: str, value: Any) -> dict[str, Any]:
    written = told(0.5)
    written[place][key] = value
    return written


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (changed("data", "name", "mnist"), "the data differ in name: neither speeds nor figures"),
        (changed("environment", "cores", 64), "the machines differ in cores: speeds compare"),
        (changed("environment", "load", 9.0), "other work wanted the cores beside b: speeds do"),
        (told(0.5, metric="loss"), "they are judged by accuracy and by loss: figures do not"),
    ],
)
def test_what_may_not_be_compared_is_said(other: dict[str, Any], said: str) -> None:
    compared = compare([("a", told(0.5)), ("b", other)])
    (note,) = compared["notes"]
    assert note.startswith(said)
    is_same_kind = "accuracy and by loss" not in said and "data differ" not in said
    assert (compared["level"] is not None) == is_same_kind


def test_a_run_that_ended_early_is_named() -> None:
    early = told(0.5) | {"status": "interrupted"}
    notes = compare([("a", told(0.5)), ("early", early)])["notes"]
    assert notes[0].startswith("not finished: early;")
    nothing = told(0.5) | {"runs": [], "status": "failed"}
    compared = compare([("a", told(0.5)), ("nothing", nothing)])
    assert compared["level"] is None
    assert [row["seconds_to_level"] for row in compared["runs"]] == [None, None]
