"""The trained network out of a run's folder alone, or one sentence that says why not."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import dni_async
from dni_async import ConfigError, RunConfig
from dni_async.config.extensions import find_callable
from dni_async.files.checkpoint import Manifest, ShardFile, digest_of, partial_folder, seal
from dni_async.files.names import shard
from dni_async.files.shards import Shard, pack
from dni_async.files.writing import write_whole
from dni_async.network.building import build_network
from tests.launcher.reports import report, worker

OWN = """
import torch
from torch import nn

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.scale = nn.Linear(4, 2), 1.0
    def forward(self, x):
        return self.scale * self.inner(x)

def make():
    return nn.Sequential(nn.Flatten(), Scaled())
"""
GIVEN = "dni_async.config.given:model_Sequential"
WEIGHTS = {"1.inner.weight": torch.ones(2, 4), "1.inner.bias": torch.zeros(2)}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a factory of the user's own."""
    name = f"loaded_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return f"{name}:make"


Run = Callable[[str], Path]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Make the folder of a finished run of a model; an attribute of it was trained."""

    def make(model: str) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "config.toml").write_text(RunConfig(model=model).to_toml())
        told = report(worker(0, 0.01), rate=1)
        told["data"] |= {"input_shape": [4], "num_classes": 2}
        (folder / "report.json").write_text(json.dumps(told))
        safetensors.torch.save_file(WEIGHTS, folder / "model.safetensors")
        state = {"own": '{"1.scale": -2.0}'}
        safetensors.torch.save_file({}, folder / "model-state.safetensors", state)
        return folder

    return make


def test_a_network_with_a_name_is_built_anew(run: Run, own: str) -> None:
    network = dni_async.load(run(own))
    assert not network.training
    assert torch.equal(network(torch.ones(1, 4)), torch.tensor([[-8.0, -8.0]]))


def test_one_that_was_given_is_loaded_into_what_is_given_again(run: Run, own: str) -> None:
    folder = run(GIVEN)
    with pytest.raises(ConfigError, match=re.escape("dni_async.load(run_dir, model=...)")):
        dni_async.load(folder)
    make = find_callable("model", own)
    held = make()
    assert dni_async.load(str(folder), model=held) is held
    assert torch.equal(held[1].inner.weight, torch.ones(2, 4))
    assert (held[1].scale, held.training) == (-2.0, False)
    assert dni_async.load(folder, model=make)[1].scale == -2.0


def test_built_in_networks_are_built_for_the_data_they_were_trained_on(run: Run) -> None:
    folder = run("cnn")
    config = RunConfig(layers=2, width=8)
    (folder / "config.toml").write_text(config.to_toml())
    (folder / "model-state.safetensors").unlink()
    trained = build_network(config, (4,), 2)
    weights = {name: weight + 1 for name, weight in trained.state_dict().items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    found = dni_async.load(folder).state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    told = json.loads((folder / "report.json").read_text())
    del told["data"]["input_shape"]
    (folder / "report.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="does not say the shape of a sample; give"):
        dni_async.load(folder)


def test_what_does_not_fit_is_left_as_it_was(run: Run) -> None:
    held = nn.Sequential(nn.Flatten(), nn.Sequential())
    held[1].inner = nn.Linear(4, 3)
    before = {name: value.clone() for name, value in held.state_dict().items()}
    said = "does not fit the network: model.safetensors 1.inner.weight is [2, 4], not [3, 4] (and 1"
    folder = run(GIVEN)
    with pytest.raises(ConfigError, match=re.escape(said)):
        dni_async.load(folder, model=held)
    assert all(torch.equal(before[name], value) for name, value in held.state_dict().items())
    with pytest.raises(ConfigError, match=re.escape("misses 0.weight")):
        dni_async.load(folder, model=nn.Sequential(nn.Linear(4, 2)))
    ints = {name: value.long() for name, value in WEIGHTS.items()}
    safetensors.torch.save_file(ints, folder / "model.safetensors")
    held[1].inner = nn.Linear(4, 2)
    with pytest.raises(ConfigError, match=re.escape("inner.weight is torch.int64, not torch.floa")):
        dni_async.load(folder, model=held)
    with pytest.raises(ConfigError, match="or a function that makes one"):
        dni_async.load(folder, model=dict)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("model.safetensors", "has no model.safetensors, which is written when a run ends well"),
        ("config.toml", "holds no run: it has no config.toml"),
        ("report.json", "has no report yet"),
    ],
)
def test_a_run_that_is_not_whole(run: Run, own: str, lost: str, said: str) -> None:
    folder = run(own)
    (folder / lost).unlink()
    if lost == "report.json":
        (folder / "config.toml").write_text(RunConfig().to_toml())
    with pytest.raises(ConfigError, match=re.escape(said)):
        dni_async.load(folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"run_dir: {tmp_path / 'no'}: there is no")):
        dni_async.load(tmp_path / "no")


@pytest.mark.parametrize("name", ["model.safetensors", "model-state.safetensors"])
@pytest.mark.parametrize("left", [0, 7, 30])
def test_a_damaged_file(run: Run, own: str, name: str, left: int) -> None:
    file = run(own) / name
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(ConfigError, match=r"is damaged: "):
        dni_async.load(file.parent)


def test_a_best_network_is_what_was_saved_of_it_or_one_sentence(run: Run, own: str) -> None:
    folder = run(own)
    root = folder / "checkpoints"
    weights = {f"weights/{name}": value + 1 for name, value in WEIGHTS.items()}
    write_whole(partial_folder(root, 5) / shard(0), *pack(Shard(weights, {})))
    path = partial_folder(root, 5) / shard(0)
    seal(root, Manifest(5, 2, 0, {}, (ShardFile(0, 1, *digest_of(path)),)))
    told = {"epoch": 1, "metric": "accuracy", "mode": "max", "value": 0.5, "batch_id": 5}
    (root / "best.json").write_text(json.dumps(told))
    best = dni_async.load(folder, best=True)
    assert torch.equal(best(torch.ones(1, 4)), torch.tensor([[9.0, 9.0]]))
    path = root / "5" / shard(0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # a number that is as good as any other
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is damaged: .*its sha256 is not the manifest's"):
        dni_async.load(folder, best=True)
