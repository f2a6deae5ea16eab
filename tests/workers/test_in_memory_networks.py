"""Whole lines in one process on networks and data of the user's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.system.sequences import write_sequences
from tests.workers.lines import assert_it_trained, named, trained

pytestmark = pytest.mark.usefixtures("as_in_a_worker")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that this process is in, where modules are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    sys.modules.pop("sequences", None)


@pytest.mark.parametrize(
    "rule",
    [
        {"targets": "anchor", "anchor_every": 8},
        {"targets": "bootstrap", "window": 1, "lr": 0.003},
        {"rule": "dgl"},
        {"rule": "dgl", "synthesizer": "copy", "synthesizer_layers": 1},
        {"synthesizer": "copy", "dtype": "bf16"},
        {"rule": "fdg", "window": 1},
        {"rule": "backprop"},
    ],
    ids=named,
)
def test_every_rule_trains_on_sequences(folder: Path, rule: dict[str, Any]) -> None:
    """A window of 1 where every gradient comes late: 7 batches an epoch are few to be stale for."""
    write_sequences(folder / "own")
    (folder / "own" / "sequences.py").rename(folder / "sequences.py")
    line = trained(
        **{"model": "sequences:make", "data": "own/ids.npz", "batch_size": 16, "lr": 0.01}
        | {"epochs": 12}
        | rule
    )
    assert_it_trained(line, num_batches=7)
    assert line.losses[-1] < 0.75 * line.losses[0]


@pytest.mark.parametrize(
    "model", [{}, {"model": "cnn", "width": 4}, {"model": "residual", "width": 4}], ids=named
)
def test_samples_need_not_be_flat(folder: Path, model: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(200) % 10
    x = (rng.normal(size=(200, 3, 6, 5)) + y.reshape(-1, 1, 1, 1) / 5).astype(np.float32)
    np.savez(folder / "own.npz", x_train=x[:160], y_train=y[:160], x_test=x[160:], y_test=y[160:])
    line = trained(data="own.npz", batch_size=20, layers=3, epochs=6, **model)
    assert_it_trained(line, num_batches=8)


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "cnn", "norm": "layer", "stages": 2},
        {"model": "cnn", "norm": "batch", "synthesizer_pool": 0},
        {"model": "cnn", "norm": "batch", "synthesizer": "conv", "targets": "bootstrap"},
        {"model": "residual", "norm": "batch", "layers": 5},
        {"model": "residual", "layers": 4, "rule": "fdg"},
        {"synthesizer_scale": 0.5},
    ],
    ids=named,
)
def test_every_network_and_synthesizer_trains(settings: dict[str, Any]) -> None:
    line = trained(**{"layers": 3, "epochs": 3, "window": 2, "width": 8} | settings)
    assert_it_trained(line)


def test_a_warm_up_holds_back_exactly_the_updates_it_says() -> None:
    """Rule dgl: each of 15 batches an epoch teaches the critic's labels once."""
    line = trained(rule="dgl", synthesizer_warmup=10)
    assert [equipment.stage.version for equipment in line.equipments] == [20, 20, 20, 30]
