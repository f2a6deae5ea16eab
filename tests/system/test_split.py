"""A network that is no chain, split by names: over a death, and back as it was given."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

import dni_async
from dni_async.config.run_config import RunConfig
from tests.system.conftest import Launch
from tests.system.test_lockstep import train_plainly
from tests.system.test_resume import kill_at_a_checkpoint
from tests.workers import split_networks

pytestmark = pytest.mark.system


def test_a_u_net_goes_on_in_other_stages_bit_for_bit_and_comes_back_as_it_was_given(
    launch: Callable[..., Launch],
    as_in_a_worker: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for index in range(2):
        (tmp_path / f"launch-{index}").mkdir()
        shutil.copy(str(split_networks.__file__), tmp_path / f"launch-{index}" / "nets.py")
    run = launch(
        "--model=nets:images", "--split=low,up,out", "--rule=backprop", "--epochs=6",
        "--batch-size=64", "--threads-per-worker=1", "--no-baseline", "--checkpoint-every=10",
        "--partition=even",
    )  # fmt: skip
    kill_at_a_checkpoint(run, 20)
    resumed = launch("--resume", str(run.run_dir), "--stages=2")
    assert resumed.end() == 0, resumed.output
    assert "split: 4 layers, from low, up, out on" in resumed.output
    config = RunConfig(
        model="tests.workers.split_networks:images", split=("low", "up", "out"), rule="backprop",
        epochs=6, batch_size=64,
    )  # fmt: skip
    network, _ = train_plainly(config)
    trained = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    for name, weight in network.state_dict().items():
        assert torch.equal(trained[name], weight), name
    split_networks.images().load_state_dict(trained, strict=True)
    monkeypatch.syspath_prepend(tmp_path / "launch-0")
    loaded = dni_async.load(run.run_dir)
    assert type(loaded).__name__ == "Images"
    assert torch.equal(loaded.get_parameter("out.bias"), trained["out.bias"])
    resumed.assert_nothing_left()


def test_a_split_point_that_does_not_exist_is_refused_before_any_process_starts(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    (tmp_path / "launch-0").mkdir()
    shutil.copy(str(split_networks.__file__), tmp_path / "launch-0" / "nets.py")
    run = launch("--model=nets:images", "--split=lo,up")
    assert run.end() == 2, run.output
    said = "Error: split: 'lo' names no module of Images; the nearest name is 'low'"
    assert said in run.output
    run.assert_nothing_left()
