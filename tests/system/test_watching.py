"""A run that is watched: its figures over HTTP while it trains, its curves in files."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.launcher.events import scalars
from tests.launcher.monitoring.loggers.offline_runs import offline_runs
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


def needs(package: str) -> pytest.MarkDecorator:
    """Skipped where the package is not installed: the extra of that name brings it."""
    reason = f"{package} is not installed: pip install '.[{package}]'"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


@pytest.mark.filterwarnings("ignore")  # of their libraries about each other
@pytest.mark.parametrize(
    "logger",
    [pytest.param("mlflow", marks=needs("mlflow")), pytest.param("wandb", marks=needs("wandb"))],
)
def test_a_logger_has_the_figures_of_the_report(
    launch: Callable[..., Launch], tmp_path: Path, logger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    flags = ("--epochs=3", "--anchor-every=2", "--checkpoint-every=12", "--log-every=5")
    run = launch(f"--{logger}={tmp_path / 'mlflow'}" if logger == "mlflow" else "--wandb=p", *flags)
    assert run.end(110) == 0, run.output
    told = _of_mlflow if logger == "mlflow" else _of_wandb
    _is_told(
        run, told(run, tmp_path), range(1, 4), ["dni", "baseline-1-thread", "baseline-all-threads"]
    )
    again = launch("--resume", str(run.run_dir), "--epochs=5", "--no-baseline")
    assert again.end(110) == 0, again.output
    assert "shows no more" not in run.output + again.output
    _is_told(again, told(again, tmp_path), range(4, 6), ["dni"])
    again.assert_nothing_left()


def _is_told(run: Launch, told: dict[str, dict[str, Any]], epochs: range, of: list[str]) -> None:
    """told: by run, each tag with its updates and values. epochs: that this launch was first to
    tell of; those that a resumed one trains again stay as they were.
    """
    batches = run.report()["data"]["num_train_batches"]
    rows = {row["name"]: row for row in run.report()["runs"]}
    for name in of:
        curves = told[f"{run.run_dir.name} {name}"]
        losses = {epoch["epoch"]: epoch["test_loss"] for epoch in rows[name]["epochs"]}
        expected = [(each * batches, pytest.approx(losses[each])) for each in epochs]
        assert curves["loss/test"][epochs[0] - 1 :] == expected
        last = epochs[-1] * batches
        assert [at for at, _ in curves["updates/loss"]] == list(range(5, last + 1, 5))


def _of_mlflow(run: Launch, tmp_path: Path) -> dict[str, dict[str, Any]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    parent = json.loads((run.run_dir / "mlflow.json").read_text())["run_id"]
    experiment = client.get_experiment_by_name("dni-async")
    found = {}
    for each in client.search_runs([experiment.experiment_id]):
        assert each.info.status == "FINISHED"
        assert each.data.params["layers"] == "4"
        is_parent = each.info.run_id == parent
        assert each.data.tags.get("mlflow.parentRunId") == (None if is_parent else parent)
        artifacts = [file.path for file in client.list_artifacts(each.info.run_id)]
        assert artifacts == (["report.json"] if is_parent else [])
        found[each.info.run_name] = {
            tag: [(m.step, m.value) for m in client.get_metric_history(each.info.run_id, tag)]
            for tag in each.data.metrics
        }
    return found


def _of_wandb(run: Launch, _tmp_path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    ids: dict[str, str] = {}
    for each in offline_runs(run.run_dir):
        name = each.run.display_name
        assert ids.setdefault(name, each.run.run_id) == each.run.run_id  # the same, resumed
        assert (each.run.run_group, each.exit_code) == (run.run_dir.name, 0)
        assert each.config["layers"] == 4
        curves = found.setdefault(name, {})
        for row in each.rows:
            for tag, value in row.items():
                curves.setdefault(tag, []).append((row["update"], value))
    return found
