"""A run that is watched: its figures over HTTP while it trains, its curves in files."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.launcher.events import scalars
from tests.system.conftest import Launch

pytestmark = pytest.mark.system


def figures(url: str) -> dict[str, float]:
    """What is served, by name and label, as text."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def test_a_run_serves_its_figures_while_it_trains(launch: Callable[..., Launch]) -> None:
    run = launch("--no-baseline", "--epochs=100000", "--metrics-port=0", "--anchor-every=2")
    url = run.wait_for(r"metrics: (http://127\.0\.0\.1:\d+/metrics)").group(1)
    run.wait_for("epoch +3 ")
    first = figures(url)
    epoch = int(first['dni_epoch{run="dni"}'])
    run.wait_for(f"epoch +{epoch + 20} ")
    later = figures(url)
    for stage in range(4):
        for name in ("updates_total", "busy_seconds_total", "waiting_seconds_total"):
            key = f'dni_stage_{name}{{stage="{stage}"}}'
            assert 0 <= first.get(key, 0) <= later[key]
        assert later[f'dni_stage_updates_total{{stage="{stage}"}}'] > 0
        assert later[f'dni_stage_resident_bytes{{stage="{stage}"}}'] > 2**24
    assert later['dni_samples_per_second{run="dni"}'] > 0
    assert 0 < later['dni_test_metric{metric="accuracy",run="dni"}'] <= 1
    for boundary in range(3):
        assert -1 <= later[f'dni_boundary_cosine{{boundary="{boundary}"}}'] <= 1
    run.interrupt()
    assert run.end(30) == 130
    with pytest.raises(urllib.error.URLError):
        figures(url)
    run.assert_nothing_left()


def test_a_taken_port_ends_the_run_before_it_begins(launch: Callable[..., Launch]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = launch("--no-baseline", f"--metrics-port={port}")
        assert run.end(30) == 2
    sentence = f"Error: metrics_port: 127.0.0.1:{port} cannot be listened on"
    assert sentence in run.output.splitlines()[-1]
    assert not run.run_dir.exists()


def test_the_curves_are_those_of_the_report(launch: Callable[..., Launch]) -> None:
    flags = ("--epochs=3", "--anchor-every=2", "--checkpoint-every=12", "--log-every=5")
    run = launch("--tensorboard", *flags)
    assert run.end(90) == 0, run.output
    assert f"tensorboard --logdir {run.run_dir / 'tensorboard'}" in run.output
    _agrees_with_the_report(run, 3)
    again = launch("--resume", str(run.run_dir), "--epochs=5")
    assert again.end(90) == 0, again.output
    _agrees_with_the_report(again, 5)
    again.assert_nothing_left()


def _agrees_with_the_report(run: Launch, num_epochs: int) -> None:
    batches = run.report()["data"]["num_train_batches"]
    for row in run.report()["runs"]:
        curves = scalars(run.run_dir / "tensorboard" / row["name"])
        for tag, key in (
            ("loss/train", "train_loss"),
            ("loss/test", "test_loss"),
            ("accuracy/test", "accuracy"),
        ):
            told = [(event.step, event.value) for event in curves[tag]]
            figures = [(e["epoch"], {**e, **e["test_metrics"]}[key]) for e in row["epochs"]]
            assert told == [
                (epoch * batches, pytest.approx(value, rel=1e-5)) for epoch, value in figures
            ]
        for boundary in row["boundaries"]:
            told = [e.value for e in curves[f"cosine/boundary-{boundary['stage']}"]]
            assert told == [pytest.approx(e["cosine"], abs=1e-5) for e in boundary["epochs"]]
        whole = list(range(5, num_epochs * batches + 1, 5))
        stages = [f"updates/busy/stage-{worker['stage']}" for worker in row["workers"]]
        for tag in ("updates/loss", "updates/samples_per_second", *stages):
            assert [event.step for event in curves[tag]] == whole, tag
