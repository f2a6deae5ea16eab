"""Whether a run may be compared with the baselines, and what it comes to."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.launcher.report.comparison import compare, comparison_of, lines
from tests.launcher.reports import report, worker

QUIET = {"cores": 2, "load": 0.0}
ONE, ALL = "baseline-1-thread", "baseline-all-threads"


def run(
    rate: float, *figures: float | None, name: str = "dni", others: float | None = 0.0, **more: Any
) -> dict[str, Any]:
    """A run that tested an accuracy after each second of training."""
    return {
        "name": name,
        "kind": "baseline" if name.startswith("baseline") else "decoupled",
        "metric": "accuracy",
        "mode": "max",
        "samples_per_second": rate,
        "others_cores": others,
        "epochs": [
            {
                "epoch": number,
                "seconds": 1.0,
                "test_loss": 1.0,
                "test_metrics": {} if each is None else {"accuracy": each},
            }
            for number, each in enumerate(figures, start=1)
        ],
        **more,
    }


def test_a_quiet_moment_gives_ratios_and_a_verdict() -> None:
    told = compare(
        [run(300, 0.5, 0.9), run(200, 0.25, 0.5, name=ONE), run(400, 0.9, 0.95, name=ALL)], QUIET
    )
    assert (told["is_comparable"], told["why_not"]) == (True, None)
    assert {name: each["ratio"] for name, each in told["baselines"].items()} == {
        ONE: 1.5, ALL: 0.75,
    }  # fmt: skip
    assert told["baselines"][ALL]["figure"] == {
        "metric": "accuracy", "ours": 0.9, "theirs": 0.95, "epoch": 2,
    }  # fmt: skip
    assert told["baselines"][ALL]["equal"] == {
        "level": 0.9, "ours_s": 2.0, "theirs_s": 1.0, "ratio": 0.5,
    }  # fmt: skip
    assert told["verdict"] == (
        "1.50x the samples/s of the baseline on one thread (faster) and 0.75x the samples/s of the "
        "baseline on all threads (SLOWER); accuracy 90.00% against 95.00% after epoch 2; 90.00% in "
        "2.00 s against 1.00 s of training (LATER)"
    )
    assert lines(told)[0] == (
        "1.50x the samples/s of the baseline on one thread (faster); accuracy 90.00% against "
        "50.00% after epoch 2; 50.00% in 1.00 s against 2.00 s of training (sooner)"
    )


def test_what_others_did_while_a_network_trained_decides() -> None:
    """Not what they did before, where the system told of both."""
    runs = [run(300, 0.5), run(200, 0.5, name=ONE), run(100, 0.5, name=ALL, others=1.25)]
    told = compare(runs, {"cores": 2, "load": 9.0})
    assert told["baselines"][ONE]["ratio"] == 1.5
    assert told["baselines"][ALL]["ratio"] is told["baselines"][ALL]["equal"] is None
    why = "while baseline-all-threads trained, other programs kept 1.2 of 2 cores busy"
    assert (told["is_comparable"], told["why_not"]) == (False, why)
    assert lines(told)[1] == f"not comparable with the baseline on all threads: {why}"
    assert told["verdict"] == f"{lines(told)[0]}; {lines(told)[1]}"
    assert told["baselines"][ALL]["figure"]["theirs"] == 0.5  # which no clock has measured


def test_a_run_of_ours_that_was_disturbed_compares_with_nobody() -> None:
    runs = [run(300, 0.5, others=0.5), run(200, 0.5, name=ONE), run(100, 0.5, name=ALL)]
    said = lines(compare(runs, QUIET))
    why = "while dni trained, other programs kept 0.5 of 2 cores busy"
    assert said == [f"not comparable with the baselines: {why}"]
    assert compare(runs, QUIET)["verdict"] == f"not comparable: {why}"
    assert not any("x the samples/s" in line for line in said)


@pytest.mark.parametrize(("load", "ratio"), [(0.0, 1.5), (0.9, 1.5), (1.0, None)])
def test_where_the_system_tells_nothing_the_load_before_decides(
    load: float, ratio: float | None
) -> None:
    runs = [run(300, 0.5, others=None), run(200, 0.5, name=ONE)]
    told = compare(runs, {"cores": 2, "load": load})
    assert told["baselines"][ONE]["ratio"] == ratio
    if ratio is None:
        assert told["why_not"] == "before the run 1.0 processes wanted 2 cores"


def test_equal_seconds_are_to_the_worse_of_the_two_best_figures() -> None:
    """Whichever end of the metric is best, and without tests that lost samples."""
    ours = run(300, 0.5, 0.25, 0.75, mode="min", metric="accuracy")
    theirs = run(200, 0.5, 0.375, name=ONE)
    equal = compare([ours, theirs], QUIET)["baselines"][ONE]["equal"]
    assert (equal["level"], equal["ours_s"], equal["theirs_s"]) == (0.375, 2.0, 2.0)
    ours = run(300, 0.5, 1.0, 0.75)
    for epoch, num_tested in zip(ours["epochs"], (100, 3, 100), strict=True):
        epoch["num_tested"] = num_tested
    equal = compare([ours, run(200, 0.5, 0.9, name=ONE)], QUIET)["baselines"][ONE]["equal"]
    assert (equal["level"], equal["ours_s"], equal["theirs_s"]) == (0.75, 3.0, 2.0)


@pytest.mark.parametrize(
    "figures", [(None,), (float("nan"),)], ids=["nothing tested", "not a number"]
)
def test_what_was_not_measured_is_not_equal(figures: tuple[float | None]) -> None:
    told = compare([run(300, *figures), run(200, 0.5, name=ONE)], QUIET)["baselines"][ONE]
    assert (told["ratio"], told["equal"]) == (1.5, None)


def test_while_a_baseline_trains_figures_are_of_the_same_epoch() -> None:
    told = compare([run(300, 0.25, 0.5, 0.75), run(200, 0.375, name=ONE)], QUIET)
    figure = told["baselines"][ONE]["figure"]
    assert (figure["ours"], figure["theirs"], figure["epoch"]) == (0.25, 0.375, 1)


@pytest.mark.parametrize(
    ("runs", "why_not"),
    [
        ([], "nothing has been trained"),
        ([run(0)], "nothing has been trained"),
        ([run(300, 0.5)], "no baseline has been trained"),
        ([run(300, 0.5), run(0, name=ONE)], "no baseline has been trained"),
    ],
    ids=["no run", "no epoch", "alone", "baseline begun"],
)
def test_what_has_not_been_trained_is_not_compared(
    runs: list[dict[str, Any]], why_not: str
) -> None:
    told = compare(runs, QUIET)
    assert (told["is_comparable"], told["why_not"], told["verdict"]) == (False, why_not, why_not)
    assert told["baselines"] == {}
    assert lines(told) == []


def test_a_report_from_before_is_compared_by_what_it_holds() -> None:
    old = report(worker(0, 0.01), rate=300, baseline=200)
    for each in old["runs"]:
        del each["mode"]
    assert comparison_of(old)["baselines"][ONE]["ratio"] == 1.5
    assert comparison_of({**old, "comparison": {"verdict": "as it was"}})["verdict"] == "as it was"
