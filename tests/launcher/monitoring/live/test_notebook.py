"""What a notebook shows of a run: one place, a few times a second, in the end the result."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from dni_async import RunConfig
from dni_async.launcher.monitoring.live.notebook import (
    EVERY_S,
    Bundle,
    NotebookDisplay,
    current_cell,
)
from dni_async.launcher.plan.plan import make_plan
from dni_async.launcher.report.results import RestartResult
from tests.launcher.reports import report, worker
from tests.launcher.told import EPOCH, baseline, decoupled, progress


class Shown:
    """A place, and a clock that the test turns."""

    def __init__(self) -> None:
        self.bundles: list[Bundle] = []
        self.now = 0.0
        self.display = NotebookDisplay(Console(quiet=True), self, lambda: self.now)

    def show(self, bundle: Bundle) -> None:
        """Keep it."""
        self.bundles.append(bundle)

    @property
    def html(self) -> str:
        """Without its style."""
        return self.bundles[-1]["text/html"].rpartition("</style>")[2]


@pytest.fixture(scope="module")
def plan() -> Any:
    """Of two stages on the digits."""
    return make_plan(RunConfig(layers=2, width=16, devices=("cpu",), epochs=4))


def test_it_is_told_a_few_times_a_second(plan: Any) -> None:
    shown = Shown()
    run = decoupled()
    shown.display.lay_out(plan)
    shown.display.begin(run)
    assert len(shown.bundles) == 1
    for _ in range(9):
        shown.display.progress(progress(0))
    assert len(shown.bundles) == 1
    shown.now += 2 * EVERY_S
    shown.display.progress(progress(1, updates=4321))
    assert len(shown.bundles) == 2
    assert "dni · epoch 1 of 4" in shown.html
    assert "<td>4,321</td>" in shown.html
    shown.display.note("joined:\n<b>\x1b")
    assert "joined:\n&lt;b&gt;\\x1b" in shown.html


def test_epochs_deaths_and_baselines_change_the_table(plan: Any) -> None:
    shown = Shown()
    run, beside = decoupled(), baseline()
    run.restarts.clear()
    shown.display.lay_out(plan)
    shown.display.begin(run)
    shown.display.progress(progress(0))
    shown.display.progress(progress(1))
    run.epochs.append(EPOCH)
    shown.now += 2 * EVERY_S
    shown.display.epoch(run, EPOCH)
    assert "<td>75.00%</td>" in shown.html
    assert "<th>test accuracy</th>" in shown.html
    assert "accuracy 75.00%" in shown.html
    run.restarts.append(RestartResult(1, "killed", 0.1))
    shown.now += 2 * EVERY_S
    shown.display.died(run.restarts[-1])
    assert "1 replaced" in shown.html
    assert "<tr><td>1</td>" not in shown.html
    shown.now += 2 * EVERY_S
    shown.display.progress(progress(1))
    assert "<tr><td>1</td>" in shown.html
    shown.display.begin(beside)
    shown.now += 2 * EVERY_S
    shown.display.trained(beside, 7)
    assert "baseline · epoch" in shown.html
    assert "<th>stage</th>" not in shown.html
    assert "epoch   1  test 0.5000  75.00%  0.50 s  2,000/s" in shown.bundles[-1]["text/plain"]


def test_it_ends_as_the_result(plan: Any) -> None:
    shown = Shown()
    shown.display.lay_out(plan)
    shown.display.note("a sentence")
    shown.display.end(report(worker(0, 0.01), rate=1000.0))
    assert "digits, rule dni: finished" in shown.html
    assert "a sentence" in shown.html
    assert "<svg" in shown.html
    assert len(shown.bundles) == 2
    shown.display.waiting("the last words")
    shown.display.close()
    assert len(shown.bundles) == 2
    shown.display.note("MLflow shows no more: no space")
    assert "digits, rule dni: finished" in shown.html
    assert "no more: no space" in shown.html
    assert "no more: no space" in shown.bundles[-1]["text/plain"]


def test_of_a_run_that_did_not_begin_only_what_was_said_stays() -> None:
    shown = Shown()
    shown.display.close()
    assert shown.bundles == []
    shown.display.waiting("reading the data")
    assert ">reading the data<" in shown.html
    shown.display.waiting("reading the data")
    assert len(shown.bundles) == 1
    shown.display.note("a sentence")
    shown.display.close()
    assert "reading" not in shown.html
    assert "a sentence" in shown.html


def test_outside_a_notebook_there_is_no_cell() -> None:
    assert current_cell() is None
