"""The tables at a run's end, and what is said beneath them."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from dni_async.launcher.report.tables import print_report
from tests.launcher.reports import link, worker
from tests.launcher.reports import report as make_report


def printed(report: dict[str, Any]) -> str:
    """What print_report prints."""
    file = io.StringIO()
    print_report(report, Console(file=file, width=100))
    return file.getvalue()


def test_a_busy_machine_is_told_instead_of_a_ratio() -> None:
    report = make_report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2, baseline=500)
    assert "2.00x the samples/s of the baseline on one thread (faster); acc" in printed(report)
    report["environment"]["load"] = 1.0
    said = printed(report)
    assert "not comparable with the baseline on one thread: before the run 1.0 proc" in said
    assert "2.00x" not in said


def test_a_report_that_knows_no_load_is_printed() -> None:
    report = make_report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2, baseline=500)
    report["environment"].pop("load", None)
    assert "processes wanted" not in printed(report)


def test_batches_that_count_nowhere_are_told() -> None:
    report = make_report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2)
    report["runs"][0]["workers"][1] |= {"skipped": 1200, "replayed": 0}
    said = printed(report)
    assert "stage 1: 1,200 batches skipped, which no rate above counts" in said
    assert "replayed" not in said


def test_the_links_are_a_table() -> None:
    report = make_report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2)
    assert "links;" not in printed(report)
    report["runs"][0]["links"] = [link(0)]
    said = printed(report)
    assert "links; bytes of a batch" in said
    row = ["0", "tcp", "same", "4", "100.0", "1.0", "20.0", "4.00", "3.00"]
    assert row in [line.split() for line in said.splitlines()]


def test_the_chosen_metric_stands_beside_the_loss_and_the_others_below() -> None:
    report = make_report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2, baseline=500)
    assert "metrics in the end" not in printed(report)
    for run in report["runs"]:
        run |= {"test_metrics": {"accuracy": 0.5, "mae": 2e-5}, "metric": "mae", "test_loss": None}
    lines = [line.split() for line in printed(report).splitlines()]
    heads = ["run", "workers", "threads", "samples/s", "train", "s", "mae", "loss"]
    assert heads in lines
    assert ["dni", "2", "2", "1,000", "1.00", "2.0e-05", "-"] in lines
    assert ["accuracy", "50.00%", "50.00%"] in lines
    for run in report["runs"]:
        run |= {"test_metrics": {"accuracy": 0.5}, "metric": "loss", "test_loss": -1.5}
    said = printed(report)
    assert "-1.5000" in said
    assert "accuracy" in said


def test_a_target_is_told_in_the_metrics_own_terms() -> None:
    report = make_report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2, target=0.25)
    report["speedup"]["time_to_target_vs_all_threads"] = 2.0
    assert "accuracy of 25.00% reached 2.00x sooner than on all threads" in printed(report)
    report["runs"][0]["metric"] = "rmse"
    assert "rmse of 0.2500 reached 2.00x sooner" in printed(report)
