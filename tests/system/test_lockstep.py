"""Lockstep equals plain backpropagation in one process, bit for bit, whatever the network."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs import baseline
from dni_async.launcher.report.results import EpochResult
from tests import frozen_networks, own_optimizers
from tests.system.conftest import Launch
from tests.system.sequences import write_sequences

pytestmark = pytest.mark.system
slow = pytest.mark.slow


def train_plainly(config: RunConfig) -> tuple[nn.Sequential, list[EpochResult]]:
    """The baseline, in this process."""
    epochs: list[EpochResult] = []
    network = baseline.train(config, torch.device("cpu"), lambda: None, epochs.append)
    return network, epochs


def assert_same_weights(run: Launch, network: nn.Sequential) -> None:
    """Each one of them, to the last bit."""
    trained = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    expected = network.state_dict()
    assert trained.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(trained[name], weight), name


@pytest.mark.parametrize(
    ("stages", "optimizer"), [(1, "adam"), (2, "sgd"), (4, "adam"), (8, "sgd")]
)
def test_lockstep_equals_plain_backpropagation_bit_for_bit(
    launch: Callable[..., Launch], as_in_a_worker: None, stages: int, optimizer: str
) -> None:
    """Over every transport; 1437 samples in batches of 100 leave a last one of 37."""
    settings = {
        "layers": 8,
        "width": 256,
        "norm": "none",
        "epochs": 3,
        "batch_size": 100,
        "optimizer": optimizer,
    }
    if stages == 4:
        settings["accumulate"] = 2
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    transport = {1: "auto", 2: "tcp", 4: "auto", 8: "ipc"}[stages]
    run = launch(
        *flags, "--rule=backprop", f"--stages={stages}", "--no-baseline",
        "--threads-per-worker=1", f"--transport={transport}",
    )  # fmt: skip
    network, _ = train_plainly(RunConfig(rule="backprop", **settings))  # type: ignore[arg-type]
    assert run.end() == 0, run.output
    assert_same_weights(run, network)
    assert run.report()["runs"][0]["workers"][0]["max_pending"] <= 1


def test_lockstep_equals_plain_backpropagation_where_layers_move(
    launch: Callable[..., Launch], as_in_a_worker: None
) -> None:
    """Up and down the line, between two batches of one update too, with dropout-free layers of
    other widths at each cut; what the stages hold in the end is in the report.
    """
    settings = {
        "layers": 6,
        "width": 128,
        "norm": "none",
        "epochs": 3,
        "batch_size": 100,
        "optimizer": "adam",
        "accumulate": 2,
        "lr_schedule": "cosine",
        "warmup_updates": 5,
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    run = launch(
        *flags, "--rule=backprop", "--stages=3", "--partition=even", "--no-baseline",
        "--threads-per-worker=1", "--moves=4:1+1+4,7:4+1+1,20:1+4+1,33:2+3+1",
    )  # fmt: skip
    network, _ = train_plainly(RunConfig(rule="backprop", **settings))  # type: ignore[arg-type]
    assert run.end() == 0, run.output
    assert_same_weights(run, network)
    ours = run.report()["runs"][0]
    assert [worker["layers"] for worker in ours["workers"]] == [[0, 2], [2, 5], [5, 6]]
    assert [epoch["num_samples"] for epoch in ours["epochs"]] == [1437] * 3
    assert run.output.count("layers have moved") == 4


def test_lockstep_equals_plain_backpropagation_where_zeros_do_not_travel(
    launch: Callable[..., Launch], as_in_a_worker: None
) -> None:
    run = launch(
        "--layers=4", "--width=256", "--epochs=3", "--batch-size=100", "--rule=backprop",
        "--no-baseline", "--threads-per-worker=1", "--transport=tcp", "--wire-zeros=omit",
    )  # fmt: skip
    settings = RunConfig(
        rule="backprop", layers=4, width=256, norm="none", epochs=3, batch_size=100
    )
    network, _ = train_plainly(settings)
    assert run.end() == 0, run.output
    assert_same_weights(run, network)
    for link in run.report()["runs"][0]["links"]:
        assert link["up_bytes"] < 0.75 * 100 * 256 * 4


@pytest.mark.parametrize("stages", [*(pytest.param(n, marks=slow) for n in (1, 2)), 4])
def test_lockstep_equals_plain_backpropagation_for_sequences(
    launch: Callable[..., Launch],
    as_in_a_worker: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stages: int,
) -> None:
    folder = tmp_path / "launch-0"
    flags = write_sequences(folder)
    run = launch(
        *flags, "--rule=backprop", "--threads-per-worker=1", "--epochs=3", f"--stages={stages}",
        "--partition=even",
    )  # fmt: skip
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    network, expected = train_plainly(
        RunConfig(model="sequences:make", data="ids.npz", batch_size=16, epochs=3)
    )
    sys.modules.pop("sequences")
    assert run.end() == 0, run.output
    assert_same_weights(run, network)
    epochs = run.report()["runs"][0]["epochs"]
    losses = [(epoch["train_loss"], epoch["test_loss"]) for epoch in epochs]
    assert losses == [(epoch.train_loss, epoch.test_loss) for epoch in expected]


@pytest.mark.parametrize(
    ("model", "memory_format"),
    [("cnn", "contiguous"), ("cnn", "channels-last"), ("residual", "contiguous")],
)
def test_lockstep_equals_plain_backpropagation_for_named_networks(
    launch: Callable[..., Launch], as_in_a_worker: None, model: str, memory_format: str
) -> None:
    settings = {"model": model, "layers": 4, "width": 8, "norm": "batch", "epochs": 2}
    settings |= {"memory_format": memory_format}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    run = launch(*flags, "--rule=backprop", "--no-baseline", "--threads-per-worker=1")
    network, _ = train_plainly(RunConfig(rule="backprop", **settings))  # type: ignore[arg-type]
    assert run.end() == 0, run.output
    assert_same_weights(run, network)


def test_lockstep_equals_plain_backpropagation_with_an_optimizer_of_the_users_own(
    launch: Callable[..., Launch], as_in_a_worker: None, tmp_path: Path
) -> None:
    """Muon beside AdamW, a schedule, and layers that are frozen; the baseline as a process, too."""
    folder = tmp_path / "launch-0"
    folder.mkdir()
    for module, name in ((frozen_networks, "nets"), (own_optimizers, "optimizers_of_mine")):
        shutil.copy(str(module.__file__), folder / f"{name}.py")
    run = launch(
        "--model=nets:backbone", "--optimizer=optimizers_of_mine:muon_beside_adamw",
        "--lr-schedule=optimizers_of_mine:waves", "--rule=backprop", "--threads-per-worker=1",
        "--epochs=2", "--stages=3", "--partition=even",
    )  # fmt: skip
    settings = RunConfig(
        model="tests.frozen_networks:backbone",
        optimizer="tests.own_optimizers:muon_beside_adamw",
        lr_schedule="tests.own_optimizers:waves",
        rule="backprop",
        epochs=2,
    )
    network, _ = train_plainly(settings)
    assert run.end() == 0, run.output
    assert_same_weights(run, network)
    ours, one_thread, _ = run.report()["runs"]
    assert ours["epochs"][-1]["train_loss"] == one_thread["epochs"][-1]["train_loss"]
    assert "leaves out" not in run.output
