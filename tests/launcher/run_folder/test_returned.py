"""The network out of the run directory is whole, and one that is not what was reported is told."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dni_async import RunConfig
from dni_async.launcher.plan.plan import Plan, make_plan
from dni_async.launcher.report.results import EpochResult, RunResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.returned import disagreement, trained_network

OWN = """
from torch import nn

class Scaled(nn.Module):
    scale = 1.0
    def __init__(self):
        super().__init__()
        self.inner, self.scale = nn.Linear(64, 10), 1.0
    def forward(self, x):
        self.scale = self.scale + 1 * self.training
        return self.scale * self.inner(x)

def make():
    return nn.Sequential(nn.Flatten(), Scaled())
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Of a network of the user's own on the digits."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return make_plan(RunConfig(model=f"{name}:make", epochs=2))


@pytest.fixture
def folder(tmp_path: Path, plan: Plan) -> RunFolder:
    """A run directory with weights as they were drawn, and an attribute that was trained."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    torch.manual_seed(3)
    weights = {"1.inner.weight": torch.randn(10, 64), "1.inner.bias": torch.zeros(10)}
    safetensors.torch.save_file(weights, folder.model)
    told = {"own": '{"1.scale": -2.0}'}
    safetensors.torch.save_file({}, folder.model_state, told)
    return folder


def result_of(accuracy: float, loss: float = 1.0, epoch: int = 2) -> RunResult:
    """What was reported."""
    result = RunResult("dni", "decoupled", "dni", 1, 1, 100)
    result.epochs = [EpochResult(epoch, 1.0, 1.0, loss, {"accuracy": accuracy}, 100)]
    return result


def test_a_network_that_is_not_what_was_reported_is_told(plan: Plan, folder: RunFolder) -> None:
    network = trained_network(plan, folder)
    assert network[1].scale == -2.0
    for told in ("as trained", "without its attribute"):
        found = disagreement(plan, folder, result_of(0.9))
        assert found is not None
        assert "90.00% was reported" in found
        accuracy = float(found.split(" test accuracy")[0].split()[-1].rstrip("%")) / 100
        found = disagreement(plan, folder, result_of(accuracy))
        assert found is not None
        assert "test loss, but 1.0000 was reported" in found
        loss = float(found.split(" test loss")[0].split()[-1])
        assert disagreement(plan, folder, result_of(accuracy, loss)) is None
        if told == "as trained":
            whole = accuracy
            folder.model_state.unlink()
    assert accuracy != whole


def test_nothing_is_said_of_early_ends_and_of_our_own_networks(
    plan: Plan, folder: RunFolder
) -> None:
    assert disagreement(plan, folder, result_of(0.9, epoch=1)) is None
    ours = dataclasses.replace(plan, config=dataclasses.replace(plan.config, model=None))
    assert disagreement(ours, folder, result_of(0.9)) is None
