"""A stage that is taken and put back goes on as the one it was taken from, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import safetensors.torch
import torch

from dni_async.config.run_config import RunConfig
from dni_async.decisions.actions import Batch, Cut, Update
from dni_async.errors import CheckpointError
from dni_async.files.beside import read_values
from dni_async.files.shards import Shard, pack, read_shard
from dni_async.files.writing import write_whole
from dni_async.wire.messages import Welcome
from dni_async.workers.reporting.instruments import make_instruments
from dni_async.workers.saving.stage_state import capture, restore, save_weights, start_of
from dni_async.workers.startup.equipment import Equipment, equip
from dni_async.workers.startup.seat import Seat

LINK: Any = object()  # that there is one is all that counts
CUT = Cut(20, 2, 3)


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """What a worker sets for its process is undone."""
    num_threads, generator = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(num_threads)
    torch.set_rng_state(generator)


class Middle:
    """The middle stage of three, trained by hand."""

    def __init__(self, config: RunConfig) -> None:
        welcome = Welcome(
            "run", 3, 1, 2, "cpu", 1, "", "", (64,), False, 10, 100, config=config.to_dict()
        )
        self.seat = Seat(welcome, config, 1, LINK, LINK)
        self.equipment: Equipment = equip(1, welcome, config)
        self.epochs = make_instruments(self.seat, self.equipment, cast("Any", None)).epochs

    def train(self, first: int, end: int) -> None:
        """Batches [first, end), each with its gradient come back at once."""
        stage, boundary = self.equipment.stage, self.equipment.boundary
        assert boundary is not None
        for batch_id in range(first, end):
            draw = torch.Generator().manual_seed(batch_id)
            x = torch.randn(8, 32, generator=draw)
            y = torch.randint(10, (8,), generator=draw)
            actions = self.equipment.rule.on_batch(
                Batch(batch_id, "train"), has_below=True, has_above=True
            )
            (update,) = (action for action in actions if isinstance(action, Update))
            hidden = stage.forward(batch_id, x, needs_input_gradient=False)
            stage.pull_back(batch_id, boundary.predict(hidden, y), source="test")
            if update.applies:
                stage.apply()
            else:
                stage.discard()
            boundary.learn(hidden, y, torch.randn(hidden.shape, generator=draw) / 8)
            self.epochs.add_lesson(batch_id % 3)

    def taken(self) -> Shard:
        """The stage's part of a checkpoint."""
        return capture(CUT, self.seat, self.equipment, self.epochs)


def config_of(**settings: Any) -> RunConfig:
    """A small network."""
    return RunConfig(layers=3, width=32, norm="batch", **settings)


@pytest.mark.parametrize("updates_before", [0, 2])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "synthesizer": "critic"},
        {"optimizer": "adam", "synthesizer": "copy", "synthesizer_layers": 1},
        {"optimizer": "sgd", "synthesizer": "linear", "targets": "bootstrap"},
        {"optimizer": "adamw", "synthesizer": "mlp", "synthesizer_width": 16, "accumulate": 3},
        {"optimizer": "tests.own_optimizers:muon_beside_adamw", "accumulate": 2},
        {"optimizer": "muon", "momentum": 0.5},
        {"optimizer": "tests.own_optimizers:keeps_count_in_group"},
        {"update_probability": 0.5, "synthesizer_warmup": 7, "lr_schedule": "cosine"},
    ],
)
def test_it_goes_on_as_if_nothing_had_been(settings: dict[str, Any], updates_before: int) -> None:
    config = config_of(**settings)
    lasting = Middle(config)
    lasting.train(0, 5)
    shard = lasting.taken()
    lasting.train(5, 12)
    resumed = Middle(config)
    resumed.train(0, updates_before)  # whatever it was before
    restore(shard, resumed.seat, resumed.equipment, resumed.epochs)
    resumed.train(5, 12)
    expected, found = lasting.taken(), resumed.taken()
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        if not name.startswith("rng"):
            assert torch.equal(found.tensors[name], tensor), name
    for taken in (found, expected):  # which the clock tells
        taken.facts["run"]["curve"].pop("span_s")
    assert found.facts == expected.facts


def test_what_is_learnt_later_does_not_reach_what_was_taken() -> None:
    middle = Middle(config_of())
    middle.train(0, 2)
    shard = middle.taken()
    before = {name: tensor.clone() for name, tensor in shard.tensors.items()}
    middle.train(2, 6)
    assert all(torch.equal(before[name], tensor) for name, tensor in shard.tensors.items())
    changed = {
        name for name, t in middle.taken().tensors.items() if not torch.equal(before[name], t)
    }
    assert {"weights/1.0.weight", "first_moment/1.0.weight", "count/1.0.weight"} <= changed


def test_what_modules_keep_beside_their_weights_goes_on_as_well(tmp_path: Path) -> None:
    middle, other = Middle(config_of()), Middle(config_of())
    kept: Any = middle.equipment.stage.layers[0]
    kept.temperature, kept.seen = 0.5, [torch.ones(3)]
    write_whole(tmp_path / "shard", *pack(middle.taken()))
    restore(read_shard(tmp_path / "shard"), other.seat, other.equipment, other.epochs)
    again: Any = other.equipment.stage.layers[0]
    assert again.temperature == 0.5
    assert torch.equal(again.seen[0], torch.ones(3))
    assert other.taken().facts["own"].keys() == middle.taken().facts["own"].keys()


def test_weights_are_written_with_what_is_beside_them(tmp_path: Path) -> None:
    """Also where two names stand for the same memory, which safetensors refuses."""
    middle = Middle(config_of())
    stage = middle.equipment.stage
    kept: Any = stage.layers[0]
    kept.temperature = 0.5
    mean = kept[1].running_mean
    kept[1].register_buffer("same", mean)
    save_weights(stage, tmp_path / "weights")
    assert read_values(tmp_path / "weights") == {"1.temperature": 0.5}
    weights = safetensors.torch.load_file(tmp_path / "weights")
    assert weights.keys() == stage.layers.state_dict().keys()
    assert torch.equal(weights["1.1.same"], mean)


def test_random_numbers_go_on_as_well() -> None:
    middle = Middle(config_of())
    shard = middle.taken()
    drawn = torch.rand(3)
    restore(shard, middle.seat, middle.equipment, middle.epochs)
    assert torch.equal(torch.rand(3), drawn)


def test_the_work_begins_where_the_cut_was() -> None:
    assert start_of(None) == (1, 0)
    assert start_of(Middle(config_of()).taken()) == (2, 3)


def test_a_shard_of_other_layers_is_refused() -> None:
    shard = Middle(config_of()).taken()
    other = Middle(RunConfig(layers=3, width=16, norm="batch"))
    with pytest.raises(CheckpointError, match=r"resume: weights/1\..* the checkpoint has "):
        restore(shard, other.seat, other.equipment, other.epochs)
