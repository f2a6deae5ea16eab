"""The best network is kept, whatever dies, and gives the very figure that its test gave."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dni_async
from dni_async.data.catalog import load_dataset
from tests.system.conftest import Launch

pytestmark = pytest.mark.system


def accuracy(network: torch.nn.Module) -> float:
    """On the digits' test samples."""
    digits = load_dataset("digits")
    with torch.no_grad():
        outputs = network(torch.as_tensor(digits.x_test))
    hits = outputs.argmax(1) == torch.as_tensor(digits.y_test)
    return int(hits.sum()) / len(hits)


def figure_of(report: dict[str, Any]) -> float:
    """The accuracy that was told of the epoch whose network was kept."""
    ours = report["runs"][0]
    (epoch,) = (e for e in ours["epochs"] if e["epoch"] == ours["best_checkpoint"]["epoch"])
    figure: float = epoch["test_metrics"]["accuracy"]
    return figure


def test_the_best_network_is_that_of_its_test_and_not_the_last(tmp_path: Path) -> None:
    """By the greatest loss, so that the first one is best: it is to outlive all that follow."""
    result = dni_async.train(
        layers=3, width=48, norm="batch", epochs=4, keep_best=True, keep_checkpoints=1,
        metrics="accuracy,loss", metric="loss", metric_mode="max", patience=3, devices="cpu",
        run_dir=tmp_path / "run", progress=False,
    )  # fmt: skip
    best = result.report["runs"][0]["best_checkpoint"]
    assert (best["epoch"], best["value"]) == (1, result.epochs[0]["test_loss"])
    told = figure_of(dict(result.report))
    assert result.best_model is not None
    assert accuracy(result.best_model) == told < accuracy(result.model)
    assert accuracy(dni_async.load(tmp_path / "run", best=True)) == told
    assert len(list((tmp_path / "run" / "checkpoints").glob("*/manifest.json"))) == 2


def test_it_outlives_a_worker_and_a_resumption(launch: Callable[..., Launch]) -> None:
    run = launch(
        "--layers=3", "--width=64", "--batch-size=32", "--epochs=6", "--keep-best", "--no-baseline"
    )
    pids = run.worker_pids()
    run.wait_for(r"epoch +2")
    os.kill(pids[1], signal.SIGKILL)
    assert run.end() == 0, run.output
    told = run.report()["runs"][0]
    assert len(told["restarts"]) == 1
    assert told["best_checkpoint"]["value"] == figure_of(run.report())
    assert accuracy(dni_async.load(run.run_dir, best=True)) == figure_of(run.report())
    again = launch("--resume", str(run.run_dir), "--epochs=7")
    assert again.end() == 0, again.output
    report = again.report()
    assert len(report["runs"][0]["epochs"]) == 7
    best = report["runs"][0]["best_checkpoint"]
    assert best["value"] == figure_of(report) >= told["best_checkpoint"]["value"]
    assert accuracy(dni_async.load(run.run_dir, best=True)) == best["value"]
    assert "best network: accuracy" in again.output
