"""The tables at a run's end, and what is said beneath them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from dni_async.launcher.dashboard.finished import written_now
from dni_async.launcher.report.html.page import build_page
from dni_async.launcher.report.html.result import draw_result
from dni_async.launcher.report.rows import run_table
from dni_async.launcher.report.terminal.tables import print_diagnosis, print_report
from tests.launcher.reports import boundary, link, report, worker


def printed(told: dict[str, Any]) -> str:
    """What print_report prints."""
    file = io.StringIO()
    print_report(told, Console(file=file, width=100))
    return file.getvalue()


def test_a_busy_machine_is_told_instead_of_a_ratio() -> None:
    told = report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2, baseline=500)
    assert "2.00x the samples/s of the baseline on one thread (faster); acc" in printed(told)
    told["environment"]["load"] = 1.0
    said = printed(told)
    assert "not comparable with the baseline on one thread: before the run 1.0 proc" in said
    assert "2.00x" not in said


def test_a_report_that_knows_no_load_is_printed() -> None:
    told = report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2, baseline=500)
    told["environment"].pop("load", None)
    assert "processes wanted" not in printed(told)


def test_batches_that_count_nowhere_are_told() -> None:
    told = report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2)
    told["runs"][0]["workers"][1] |= {"skipped": 1200, "replayed": 0}
    said = printed(told)
    assert "stage 1: 1,200 batches skipped, which no rate above counts" in said
    assert "replayed" not in said


def test_why_a_run_was_stopped_is_told_with_what_came_back() -> None:
    told = report(worker(0, 0.01), rate=1000)
    told["runs"][0]["stopped"] = {"reason": "enough\x1b", "test_metrics": {"accuracy": 0.75}}
    line = "dni was asked to stop: enough\\x1b; the network as it came back has accuracy 75.00%"
    assert line in printed(told)
    assert line in build_page(told)
    assert "asked to stop" not in printed(report(worker(0, 0.01), rate=1000))


def test_the_best_network_is_told_with_where_it_is() -> None:
    told = report(worker(0, 0.01), rate=1000)
    best = {"epoch": 2, "metric": "accuracy", "value": 0.75, "folder": "checkpoints/40"}
    assert "best network" not in printed(told) + build_page(told) + draw_result(told)
    told["runs"][0]["best_checkpoint"] = best
    line = "best network: accuracy 75.00% after epoch 2, in checkpoints/40"
    assert all(line in shown for shown in (printed(told), build_page(told), draw_result(told)))
    assert any(line in said for said in written_now(told)["says"])


def test_a_run_without_an_epoch_has_no_rate_anywhere() -> None:
    told = report(worker(0, 0.01), rate=1000, baseline=500, target=0.9)
    told["runs"][1] |= {"epochs": [], "samples_per_second": 0.0, "train_seconds": 0.0}
    names, rows = run_table(told, ["run", "epochs", "samples/s", "train s"], figures="test ")
    assert names[-3:] == ["test accuracy", "test loss", "s to target"]
    assert rows[0][:3] == ["dni", "3", "1,000"]
    assert rows[1][:4] == ["baseline-1-thread", "0", "-", "-"]
    assert rows[1][-1] == "not reached"


def test_the_links_are_a_table() -> None:
    told = report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2)
    assert "links;" not in printed(told)
    told["runs"][0]["links"] = [link(0)]
    said = printed(told)
    assert "links; bytes of a batch" in said
    row = ["0", "tcp", "same", "4", "100.0", "1.0", "20.0", "4.00", "3.00"]
    assert row in [line.split() for line in said.splitlines()]


def test_the_chosen_metric_stands_beside_the_loss_and_the_others_below() -> None:
    told = report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2, baseline=500)
    assert "metrics in the end" not in printed(told)
    for run in told["runs"]:
        run |= {"test_metrics": {"accuracy": 0.5, "mae": 2e-5}, "metric": "mae", "test_loss": None}
    lines = [line.split() for line in printed(told).splitlines()]
    heads = ["run", "workers", "threads", "samples/s", "train", "s", "mae", "loss"]
    assert heads in lines
    assert ["dni", "2", "2", "1,000", "1.00", "2.0e-05", "-"] in lines
    assert ["accuracy", "50.00%", "50.00%"] in lines
    for run in told["runs"]:
        run |= {"test_metrics": {"accuracy": 0.5}, "metric": "loss", "test_loss": -1.5}
    said = printed(told)
    assert "-1.5000" in said
    assert "accuracy" in said


def test_a_target_is_told_in_the_metrics_own_terms() -> None:
    told = report(worker(0, 0.01), worker(1, 0.01), rate=1000, cores=2, target=0.25)
    told["speedup"]["time_to_target_vs_all_threads"] = 2.0
    assert "accuracy of 25.00% reached 2.00x sooner than on all threads" in printed(told)
    told["runs"][0]["metric"] = "rmse"
    assert "rmse of 0.2500 reached 2.00x sooner" in printed(told)


def wide() -> dict[str, Any]:
    """A report with large figures, long names and a target that nobody reached."""
    workers = [
        worker(k, 0.01, updates=10**7, device="cuda:11", rss_bytes=2**36, frame_bytes=10**13)
        for k in range(12)
    ]
    made = report(*workers, rate=1_234_567, cores=2, baseline=500, target=0.99)
    made["runs"].append({**made["runs"][1], "name": "baseline-all-threads"})
    made["runs"][0]["links"] = [link(k, up_bytes=1e9, down_bytes=1e8) for k in range(11)]
    made["runs"][0]["boundaries"] = [boundary(k, -0.01, 0.99) for k in range(11)]
    for run in made["runs"]:
        run["metric"] = "top-5 accuracy of the rare classes"
        run["test_metrics"] = {run["metric"]: 123.4567, "accuracy": 0.5}
    return made


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_no_table_is_wider_than_the_terminal_and_no_figure_is_cut(width: int) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    print_report(wide(), console)
    print_diagnosis(wide(), console)
    said = file.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in said
    assert max(map(len, said.splitlines())) <= width
    words = said.split()
    assert {"1,234,567", "123.4567", "10,000,000"} <= set(words)
    assert "not reached" in said
    assert ("65536" in said.replace(",", "")) is (width >= 80)  # megabytes are left out first
