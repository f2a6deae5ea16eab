"""Lines between whose stages several values pass: some with, some without a gradient, some relayed.

The networks are in value_networks; what is true of every line is in test_in_memory.
"""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs import baseline
from dni_async.workers.in_memory import Equipment, InMemoryLine, build_line
from tests.workers.lines import SMALL, assert_it_trained, trained
from tests.workers.value_networks import FACTORIES, sequences

pytestmark = pytest.mark.usefixtures("as_in_a_worker")


def of(factory: str, **settings: Any) -> dict[str, Any]:
    """Settings of a run of one of the networks."""
    return {"model": f"tests.workers.value_networks:{factory}", "layers": 4, **settings}


@pytest.mark.parametrize("stages", [None, 2])
@pytest.mark.parametrize("factory", [*FACTORIES, "recurrent"])
def test_lockstep_equals_one_process_bit_for_bit(factory: str, stages: int | None) -> None:
    settings = of(factory, rule="backprop", stages=stages, epochs=1)
    line = trained(**settings)
    config = RunConfig(**{**SMALL, **settings})
    expected = baseline.train(config, torch.device("cpu"), lambda: None, lambda _: None)
    for name, weight in line.state_dict().items():
        assert torch.equal(weight, expected.state_dict()[name]), name


@pytest.mark.parametrize(
    ("factory", "settings"),
    [
        ("skip", {"targets": "bootstrap"}),
        ("masked", {"targets": "anchor", "anchor_every": 3}),
        ("named_pairs", {"targets": "anchor", "anchor_every": 3}),
        ("skip", {"targets": "anchor", "anchor_every": 2, "anchor_updates": True}),
        ("nested", {"targets": "bootstrap"}),
        ("masked", {"rule": "fdg"}),
        ("named_pairs", {"rule": "fdg"}),
        ("recurrent", {"rule": "fdg"}),
        ("skip", {"rule": "dgl"}),
        ("skip", {"rule": "dgl", "synthesizer": "copy"}),
        ("masked", {"synthesizer": "copy", "synthesizer_layers": 1}),
        ("skip", {"wire_dtype": "int8", "targets": "bootstrap"}),
        ("masked", {"wire_dtype": "bf16", "wire_zeros": "omit", "rule": "fdg"}),
        ("masked", {"dtype": "bf16", "rule": "backprop"}),
    ],
    ids=str,
)
def test_every_rule_trains(factory: str, settings: dict[str, Any]) -> None:
    line = trained(**of(factory, lr=0.01, **settings), draw=random.Random(1))
    assert_it_trained(line)


def test_the_skips_of_a_u_net_pass_all_stages_in_lockstep(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(80, 1, 8, 8)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64) + (x[:, 0] > 1)
    data = tmp_path / "pixels.npz"
    np.savez(data, x_train=x, y_train=y, x_test=x[:8], y_test=y[:8])
    settings = of("unet", data=str(data), batch_size=16, rule="backprop")
    config = RunConfig(**{**SMALL, **settings})
    line = trained(**settings)
    expected = baseline.train(config, torch.device("cpu"), lambda: None, lambda _: None)
    for name, weight in line.state_dict().items():
        assert torch.equal(weight, expected.state_dict()[name]), name
    assert line.losses[-1] < line.losses[0]


@pytest.mark.parametrize("ranges", [[(0, 1), (1, 4)], [(0, 3), (3, 4)]])
def test_layers_of_one_stage_may_share_a_weight(ranges: list[tuple[int, int]]) -> None:
    settings = of("tied", rule="backprop", epochs=1)
    config = RunConfig(**{**SMALL, **settings})
    line = build_line(config, ranges=ranges)
    line.run()
    expected = baseline.train(config, torch.device("cpu"), lambda: None, lambda _: None)
    weights = line.state_dict()
    assert weights.keys() == expected.state_dict().keys()
    assert torch.equal(weights["2.weight"], weights["4.weight"])
    for name, weight in weights.items():
        assert torch.equal(weight, expected.state_dict()[name]), name


@pytest.mark.parametrize(
    "settings",
    [
        {"when_full": "skip", "targets": "bootstrap", "window": 2},
        {"when_empty": "replay", "replay_batches": 4, "replay_limit": 3},
    ],
    ids=str,
)
def test_batches_of_values_are_skipped_and_replayed(settings: dict[str, Any]) -> None:
    line = trained(**of("masked", lr=0.01, **settings), draw=random.Random(3))
    told = [counters.work for counters in line.counters.values()]
    assert sum(work.skipped + work.replayed for work in told) > 0
    assert line.losses[-1] < line.losses[0]


class Lengths:
    """Batches whose length, and how many samples they have, change; the rest is as it was."""

    def __init__(self, feed: Any) -> None:
        self._feed = feed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)

    def train_batch(self, epoch: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids [B, T], to be told which came before."""
        draw = torch.Generator().manual_seed(100 * epoch + index)
        ids = torch.randint(10, (12 + index % 3, 3 + 7 * index % 20), generator=draw)
        return ids, ids.roll(1, 1)

    def test_batch(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """As train_batch's."""
        return self.train_batch(0, index)


def of_any_length(folder: Path, **settings: Any) -> InMemoryLine:
    """A line that was trained on them; of the data in folder there are as many batches."""
    ids = np.arange(1500 * 4).reshape(1500, 4) % 10
    np.savez(folder / "ids.npz", x_train=ids, y_train=ids, x_test=ids[:100], y_test=ids[:100])
    settings["data"] = str(folder / "ids.npz")

    def adapt(_stage: int, equipment: Equipment) -> Equipment:
        if equipment.inputs is None:
            return equipment
        return dataclasses.replace(equipment, inputs=Lengths(equipment.inputs))

    line = build_line(RunConfig(**{**SMALL, **of("sequences", **settings)}), adapt=adapt)
    line.run(random.Random(1))
    return line


class Beside(Lengths):
    """The digits, with the first 32 of their numbers beside them."""

    def train_batch(self, epoch: int, index: int) -> Any:
        """((x, z), labels)."""
        x, labels = self._feed.train_batch(epoch, index)
        return (x, x[:, :32]), labels

    def test_batch(self, index: int) -> Any:
        """As train_batch's."""
        x, labels = self._feed.test_batch(index)
        return (x, x[:, :32]), labels


def test_a_source_may_read_several_inputs() -> None:
    def adapt(stage: int, equipment: Equipment) -> Equipment:
        if stage:
            return equipment
        return dataclasses.replace(equipment, inputs=Beside(equipment.inputs))

    line = build_line(RunConfig(**{**SMALL, **of("beside", lr=0.01)}), adapt=adapt)
    line.run(random.Random(1))
    assert_it_trained(line)


def test_batches_may_differ_in_length(tmp_path: Path) -> None:
    line = of_any_length(tmp_path, rule="backprop", optimizer="sgd", epochs=1)
    torch.manual_seed(0)
    network = sequences()
    optimizer = torch.optim.SGD(network.parameters(), lr=SMALL["lr"], momentum=0.9, fused=True)
    for index in range(15):
        ids, labels = Lengths(None).train_batch(1, index)
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(ids).flatten(0, 1), labels.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for name, weight in line.state_dict().items():
        assert torch.equal(weight, network.state_dict()[name]), name


@pytest.mark.parametrize("settings", [{"targets": "bootstrap"}, {"rule": "fdg"}], ids=str)
def test_where_each_position_is_a_sample_rules_do_not_ask_for_the_length(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    line = of_any_length(tmp_path, **settings)
    assert line.losses[-1] < line.losses[0]
