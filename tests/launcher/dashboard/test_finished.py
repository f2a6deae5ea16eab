"""The pages of a run that is over."""

from __future__ import annotations

import json
from pathlib import Path

from dni_async.launcher.dashboard.finished import told_by_metrics, written_learning, written_now
from dni_async.launcher.dashboard.pace import ROW
from tests.launcher.reports import boundary, report, worker
from tests.launcher.told import progress


def test_the_figures_are_those_of_the_report() -> None:
    written = report(worker(0, 0.01), worker(1, 0.02), rate=100.0, baseline=50.0, epochs=3)
    written["runs"][0]["boundaries"] = [boundary(0, 0.5)]
    now = written_now(written)
    ours = written["runs"][0]
    assert (now["status"], now["epoch"], now["epochs"]) == ("finished", 3, 3)
    assert now["samples_per_second"] == ours["samples_per_second"]
    assert now["value"] == ours["epochs"][-1]["test_metrics"]["accuracy"]
    assert len(now["stages"]) == 2
    assert now["epochs_told"] == 6
    assert now["says"][0].startswith("2.00x the samples/s of the baseline on one thread (faster)")
    assert any("bottleneck" in sentence for sentence in now["says"])
    assert [run["name"] for run in written_learning(written)["runs"]] == [
        "dni", "baseline-1-thread",
    ]  # fmt: skip


def test_a_run_that_ended_before_it_began_still_has_a_page() -> None:
    written = report(worker(0, 0.01), rate=0.0)
    written["runs"][0]["epochs"] = []
    assert written_now(written)["value"] is None
    written["runs"] = []
    assert written_now(written)["stages"] == []


def test_the_metrics_tell_how_workers_were_from_epoch_to_epoch(tmp_path: Path) -> None:
    lines = []
    for epoch in (1, 2):
        lines.append({"run": "dni", "epoch": epoch, "seconds": 0.5})
        told = progress(1, busy_s=1.0 * epoch, waiting_s=3.0 * epoch, sending_s=0.0)
        lines.append({"run": "dni", "worker": told.to_dict()})
    lines += [
        {"run": "baseline-1-thread", "epoch": 1, "seconds": 9.0},
        {"run": "dni", "resumed": 3},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n[]\n{"worker": 3}\n{"worker": {}}\n{"cut o'
    (tmp_path / "metrics.jsonl").write_text(text)
    rows = told_by_metrics(tmp_path)
    assert list(rows) == [1]
    first, second = (dict(zip(ROW, row, strict=True)) for row in rows[1])
    assert (first["seconds"], first["busy"], first["memory_mb"]) == (0.5, 0.25, 1.0)
    assert (second["seconds"], second["waiting"], second["window"]) == (1.0, 0.75, 0.5)
    assert told_by_metrics(tmp_path / "nowhere") == {}
