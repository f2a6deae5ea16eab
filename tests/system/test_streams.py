"""Runs on a loader of the user's own: killed, resumed, broken, and nothing is left of any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from tests.system.conftest import Launch
from tests.system.test_restarts import kill
from tests.system.test_resume import kill_at_a_checkpoint, weights_of

pytestmark = pytest.mark.system
COMMON = [
    "--data=mine:data", "--model=mine:network", "--no-baseline", "--threads-per-worker=1",
    "--partition=even",
]  # fmt: skip
MINE = """
import os, random
import numpy as np, torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

class Augmented(Dataset):
    def __len__(self):
        return 600

    def __getitem__(self, index):
        label = index % 3
        if os.environ.get("FAILS") and index == 599 and torch.utils.data.get_worker_info():
            raise ValueError("no such file")
        drawn = [torch.randn(()), random.gauss(0, 1), np.random.normal()]
        return torch.tensor([2.0 * label, 1.0 - label, *drawn]), label

def data():
    train = DataLoader(Augmented(), batch_size=20, shuffle=True, num_workers=2)
    return train, DataLoader(Augmented(), batch_size=100)

def network():
    return nn.Sequential(
        nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    )
"""


@pytest.fixture
def launch_mine(tmp_path: Path, launch: Callable[..., Launch]) -> Callable[..., Launch]:
    """Start launchers in a folder that holds the module mine."""
    count = 0

    def start(*arguments: str) -> Launch:
        nonlocal count
        folder = tmp_path / f"launch-{count}"
        count += 1
        folder.mkdir()
        (folder / "mine.py").write_text(MINE, encoding="utf-8")
        return launch(*arguments)

    return start


def test_when_the_source_is_killed_its_loader_dies_and_the_next_one_goes_on(
    launch_mine: Callable[..., Launch],
) -> None:
    run = launch_mine(*COMMON, "--epochs=8", "--lr=0.01")
    pids = run.worker_pids()
    run.wait_for("epoch +2 ")
    source = psutil.Process(pids[0])
    loaders = source.children()
    while not loaders:
        loaders = source.children()
    source.suspend()  # what it has begun stays as it is, until it is killed
    names = ("dni-data-", "dni-stage", "pt_data_w")  # the last is torch's, until it has begun
    assert all(loader.name().startswith(names) for loader in source.children())
    loaders = source.children()
    kill(run, pids, 0)
    _, left = psutil.wait_procs(loaders, timeout=2)
    assert left == []
    assert run.end(120) == 0, run.output
    row = run.report()["runs"][0]
    assert [epoch["epoch"] for epoch in row["epochs"]] == list(range(1, 9))
    assert max(epoch["num_samples"] for epoch in row["epochs"]) == 600
    assert row["test_metrics"]["accuracy"] > 0.9
    assert 0 <= row["workers"][0]["waiting_for_data"] <= row["workers"][0]["waiting"] + 1e-4
    run.assert_nothing_left()


def test_a_resumed_run_goes_on_in_the_middle_of_a_pass_bit_for_bit(
    launch_mine: Callable[..., Launch],
) -> None:
    exact = [*COMMON, "--rule=backprop", "--epochs=12", "--checkpoint-every=7"]
    exact.append("--evaluate-every=6")
    whole = launch_mine(*exact)
    assert whole.end() == 0, whole.output
    run = launch_mine(*exact)
    kill_at_a_checkpoint(run, 40)
    resumed = launch_mine("--resume", str(run.run_dir))
    assert resumed.end() == 0, resumed.output
    assert "resumed from checkpoint" in resumed.output
    weights = weights_of(resumed)
    for name, weight in weights_of(whole).items():
        assert torch.equal(weight, weights[name]), name
    resumed.assert_nothing_left()


def test_what_the_data_raise_is_told_once_and_last(
    launch_mine: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "1")
    run = launch_mine(*COMMON, "--epochs=3")
    assert run.end() == 1
    assert run.output.rstrip().endswith("ValueError: no such file")
    assert run.output.count("ValueError: no such file") == 1
    run.assert_nothing_left()
