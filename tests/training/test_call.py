"""What dni_async.train refuses before any process starts, each in one sentence."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dni_async
from dni_async import ConfigError, RunConfig

W = torch.ones(1, requires_grad=True)
X, Y = np.ones((8, 4), np.float32), np.array([0, 1] * 4)
DATA = (X, Y, X, Y)


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing may start, and what is left would be seen."""
    from dni_async.launcher import run

    def refuse(*_: object) -> None:
        pytest.fail("a run was started")

    monkeypatch.setattr(run._Run, "_train", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"epoch": 3}, "unknown key 'epoch'; did you mean 'epochs'?"),
        ({"epochs": 0}, "epochs: must be at least 1, but is 0"),
        ({"epochs": "3"}, "epochs: must be int, but is '3'"),
        ({"rule": "sgd"}, "rule: must be one of backprop"),
        ({"rule": 3}, "rule: must be str, but is 3"),
        ({"rule": Path}, "rule: making pathlib:Path raised"),
        ({"model": nn.Linear(3, 2)}, "model: samples of shape [4] do not pass the network"),
        (
            {"model": 3},
            "model: must be a torch.nn.Module or a function that makes one, but is a int",
        ),
        ({"model": "mine"}, "model: must be one of cnn, residual, or package.module:factory"),
        ({"model": dict}, "model: builtins:dict() gave a dict, needs a torch.nn.Module"),
        (
            {"model": nn.Sequential(nn.Linear(3, 2))},
            "model: torch.float32 inputs [4, 4] do not pass",
        ),
        ({"model": nn.Sequential(nn.Linear(4, 1))}, "model: the output is [4, 1]"),
        ({"model": nn.Sequential(nn.ReLU())}, "has no parameters to train"),
        ({"data": (X, Y, X)}, "data: must be (x_train, y_train, x_test, y_test)"),
        (
            {"data": DataLoader([(X[0], 0)] * 9, 2)},
            "batch_size: the loader gives batches of 2",
        ),
        ({"data": (X, Y[:3], X, Y)}, "data: x_train has 8 samples, y_train has "),
        ({"data": (X, X, X, Y)}, "data: y_train must hold integer labels or one-hot rows"),
        ({"data": (X, X / 2, X, Y)}, "data: y_train must hold integer labels, not float32"),
        ({"batch_size": 9}, "batch_size: 9 is larger than the 8 training samples of given"),
        (
            {"optimizer": torch.optim.SGD([W], lr=1.0)},
            "optimizer: must be a name, or a class or fun",
        ),
        ({"optimizer": torch.optim.LBFGS}, "optimizer: LBFGS computes the loss again"),
        ({"optimizer": lambda _: 1 / 0}, "optimizer: <lambda> raised ZeroDivisionError"),
        ({"optimizer": partial(torch.optim.SGD, lr=1), "lr": 2}, "lr: has no effect, as SGD"),
        ({"lr_schedule": lambda update, num_updates: -1.0}, "gave -1.0 at update 0 of 20, needs a"),
        ({"run_dir": __file__}, "run_dir: "),
        ({"config": RunConfig(epochs=2), "stages": 5}, "stages: 5 stages need at least"),
    ],
)
def test_what_cannot_be_run(arguments: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        dni_async.train(**{"data": DATA, "batch_size": 4, **arguments})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "baseline", "epochs"),
    [
        ({"epochs": 3}, False, 3),
        ({"epochs": 3, "baseline": True}, True, 3),
        ({"config": RunConfig(epochs=2)}, True, 2),
        ({"config": RunConfig(epochs=2), "epochs": 3, "baseline": False}, False, 3),
    ],
)
def test_settings_win_over_config_and_that_over_the_defaults(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], baseline: bool, epochs: int
) -> None:
    from dni_async.launcher import engine

    seen: list[RunConfig] = []

    def carry_out(config: RunConfig, **_: object) -> tuple[nn.Module, None, dict[str, Any]]:
        seen.append(config)
        return nn.Sequential(), None, {"runs": [{"test_metrics": {"accuracy": 0.5}, "epochs": []}]}

    monkeypatch.setattr(engine, "carry_out", carry_out)
    result = dni_async.train(data="digits", devices="cpu", **arguments)
    assert (seen[0].baseline, seen[0].epochs, seen[0].devices) == (baseline, epochs, ("cpu",))
    assert (result.accuracy, result.run_dir) == (0.5, None)


@pytest.mark.parametrize(
    ("settings", "batch_size"),
    [({}, 4), ({"batch_size": 4}, 4), ({"config": RunConfig(batch_size=3)}, 4)],
)
def test_a_loader_says_how_large_batches_are(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], batch_size: int
) -> None:
    from dni_async.launcher import engine

    seen: list[RunConfig] = []

    def carry_out(config: RunConfig, **_: object) -> tuple[nn.Module, None, dict[str, Any]]:
        seen.append(config)
        return nn.Sequential(), None, {"runs": [{"test_metrics": {"accuracy": 0.5}, "epochs": []}]}

    monkeypatch.setattr(engine, "carry_out", carry_out)
    samples = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    result = dni_async.train(data=(DataLoader(samples, batch_size=4), samples), **settings)
    assert seen[0].batch_size == batch_size
    assert result.metrics == {}
