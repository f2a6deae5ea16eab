"""Metrics of the user's own in real runs: they are measured, survive a death, and end a run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import Launch

pytestmark = pytest.mark.system

OWN = """
def sure(outputs, targets):
    return outputs.softmax(1).amax(1).mean()


def late(outputs, targets):
    if len(outputs) > 8:  # more than are tried before the start
        raise ArithmeticError("not of so many")
    return 0.5
"""
METRICS = "--metrics=accuracy,top-3,sureness=marks:sure"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the first launcher of a test runs, with the user's module in it."""
    place = tmp_path / "launch-0"
    place.mkdir()
    (place / "marks.py").write_text(OWN, encoding="utf-8")
    return place


@pytest.mark.usefixtures("folder")
def test_a_replaced_head_measures_on_and_the_chosen_metric_ends_all_runs(
    launch: Callable[..., Launch],
) -> None:
    goal = ("--metric=sureness", "--target=0.9", "--early-stop")
    run = launch(METRICS, *goal, "--epochs=500", "--stages=2", "--transport=tcp", "--devices=cpu")
    pids = run.worker_pids()
    run.wait_for("epoch +1 ")
    os.kill(pids[1], signal.SIGKILL)
    assert run.end(60) == 0, run.output
    for row in run.report()["runs"]:
        assert (row["metric"], row["mode"]) == ("sureness", "max")
        last = row["epochs"][-1]
        assert list(last["test_metrics"]) == ["accuracy", "top-3", "sureness"]
        assert last["test_metrics"]["top-3"] >= last["test_metrics"]["accuracy"] > 0.5
        assert row["best"] == max(
            epoch["test_metrics"]["sureness"]
            for epoch in row["epochs"]
            if epoch["num_tested"] != 0  # a death may take all samples of a test
        )
        assert row["best"] >= 0.9
        assert 0 < row["seconds_to_target"] <= row["train_seconds"] + 1e-3
    assert "the target is reached: sureness is 0.9" in run.output
    assert "metrics in the end" in run.output
    run.assert_nothing_left()


@pytest.mark.usefixtures("folder")
def test_a_metric_that_raises_later_is_the_runs_first_cause(launch: Callable[..., Launch]) -> None:
    run = launch("--metrics=marks:late", "--epochs=2", "--stages=2", "--devices=cpu")
    assert run.end(60) == 1, run.output
    assert 'raise ArithmeticError("not of so many")' in run.output
    last = run.output.splitlines()[-1]
    assert "metrics: late raised ArithmeticError: not of so many (outputs [128, 10]" in last
    run.assert_nothing_left()
