"""Whole lines in one process: every way to run, held against what must be true of each of them."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
import torch
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.network.building import build_network
from dni_async.workers.training import loop
from tests.workers.lines import NUM_BATCHES, SMALL, assert_it_trained, named, trained, works

pytestmark = pytest.mark.usefixtures("as_in_a_worker")
PAPER = {"layers": 2, "targets": "bootstrap", "lr": 0.01, "epochs": 8}


# --- exactness ---------------------------------------------------------------------------------


OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, float]]] = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.01}),
}


def plainly_trained(config: RunConfig) -> dict[str, torch.Tensor]:
    """The same network by torch alone: its layers, loss, optimizer and autograd."""
    inputs = Inputs.from_config(config)
    network = build_network(config, (64,), 10)
    make, options = OPTIMIZERS[config.optimizer]
    optimizer = make(network.parameters(), lr=config.lr, fused=True, **options)  # type: ignore[call-arg]
    for epoch, index in itertools.product(range(1, config.epochs + 1), range(NUM_BATCHES)):
        x, y = inputs.train_batch(epoch, index)
        optimizer.zero_grad()
        functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return dict(network.state_dict())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stages", [1, 2, 4])
def test_lockstep_equals_torch_bit_for_bit(stages: int, optimizer: str) -> None:
    decay = OPTIMIZERS[optimizer][1].get("weight_decay", 0.0)
    settings = {"rule": "backprop", "optimizer": optimizer, "weight_decay": decay}
    line = trained(stages=stages, **settings)
    expected = plainly_trained(RunConfig(**{**SMALL, **settings}))  # type: ignore[arg-type]
    weights = line.state_dict()
    assert weights.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(weights[name], weight), name
    assert line.counters[0].window.max_pending <= 1


@pytest.mark.parametrize(
    "settings",
    [
        {"rule": "backprop", "norm": "batch"},
        {"rule": "backprop", "accumulate": 2},
        {"rule": "fdg", "window": 1},
        {"targets": "bootstrap", "window": 1},
        {"targets": "anchor", "anchor_every": 3, "window": 1},
        {"unlock": "forward", "anchor_every": 3, "window": 1},
        {"rule": "dgl"},
    ],
    ids=named,
)
def test_with_a_window_of_one_the_order_of_turns_changes_no_bit(settings: dict[str, Any]) -> None:
    """Whatever comes first, what is learnt from it is all learnt before the next batch.

    Without returned gradients that holds for any window.
    """
    lines = [trained(**settings, draw=draw) for draw in (None, random.Random(1))]
    weights, again = (line.state_dict() for line in lines)
    for name, weight in weights.items():
        assert torch.equal(weight, again[name]), name
    assert len({tuple(line.losses + line.accuracies) for line in lines}) == 1


# --- matrices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2, 8])
@pytest.mark.parametrize(
    "rule",
    [
        {"targets": "anchor", "anchor_every": 4},
        {"targets": "anchor", "anchor_every": 1, "anchor_updates": True},
        {"targets": "anchor", "anchor_every": 0},
        {"targets": "bootstrap"},
        {"targets": "bootstrap", "synthesizer": "linear"},
        {"rule": "dgl"},
        {"rule": "fdg"},
        {"rule": "backprop"},
    ],
    ids=named,
)
def test_every_rule_trains_at_every_window(rule: dict[str, Any], window: int) -> None:
    line = trained(window=window, **rule, draw=random.Random(window))
    assert_it_trained(line)
    used = 1 if rule.get("rule") == "backprop" else window
    assert line.counters[0].link.window == used


@pytest.mark.parametrize(
    "settings",
    [
        {"layers": 1},
        {"layers": 5, "stages": 2},
        {"layers": 6, "stages": 3},
        {"synthesizer": "mlp", "label_conditioning": False, "synthesizer_width": 32, **PAPER},
        {"synthesizer": "linear", "optimizer": "adamw", **PAPER},
        {"optimizer": "sgd", "lr": 0.05, "norm": "layer"},
        {"norm": "batch"},
        {"norm": "batch", "rule": "fdg"},
        {"dtype": "bf16"},
        {"dtype": "bf16", "wire_dtype": "bf16", "targets": "bootstrap"},
        {"wire_dtype": "fp16"},
        {"wire_dtype": "int8"},
        {"wire_dtype": "int8", "wire_rounding": "stochastic", "targets": "bootstrap"},
        {"wire_dtype": "int8", "rule": "fdg", "window": 2},
        {"wire_zeros": "omit", "rule": "backprop", "width": 64},
        {"lr_schedule": "cosine", "warmup_updates": 5, "clip_norm": 1.0, "lr": 0.02},
        {"accumulate": 3, "lr": 0.02},
        {"rule": "fdg", "staleness_power": 0.5, "accumulate": 3},
        {"evaluate_every": 2},
        {"model": "cnn", "layers": 3, "width": 4, "norm": "batch"},
        {"model": "residual", "layers": 3, "width": 4, "norm": "batch"},
        {"unlock": "forward", "targets": "bootstrap", "synthesizer": "linear", "norm": "batch"},
        {"unlock": "forward", "anchor_every": 4, "window": 3, "lr": 0.01, "epochs": 8},
        {"unlock": "forward", "anchor_every": 4, "anchor_updates": True, "layers": 3},
        {"unlock": "forward", "rule": "dgl", "layers": 2},
        {"unlock": "forward", "dtype": "bf16", "stages": 2, "lr": 0.01, "epochs": 8},
    ],
    ids=named,
)
def test_every_setting_trains(settings: dict[str, Any]) -> None:
    line = trained(**{"epochs": 4, **settings}, draw=random.Random(3))
    assert_it_trained(line)
    assert len(line.accuracies) == line.config.epochs // line.config.evaluate_every
    assert line.accuracies[-1] > 0.2


@pytest.mark.parametrize("targets", ["anchor", "bootstrap"])
@pytest.mark.parametrize("seed", range(3))
def test_with_skip_every_batch_is_accounted_for(targets: str, seed: int) -> None:
    """Whoever is slow: what is skipped below does not reach those above."""
    line = trained(when_full="skip", targets=targets, window=2, draw=random.Random(seed))
    arrived = 2 * NUM_BATCHES
    for work in works(line):
        assert work.updates == arrived  # learnt from, sent up or not
        arrived -= work.skipped
    assert works(line)[3].skipped == 0
    assert sum(work.skipped for work in works(line)) > 0


@pytest.mark.parametrize("seed", range(3))
def test_with_replay_starved_stages_learn_on(seed: int) -> None:
    line = trained(when_empty="replay", replay_batches=4, replay_limit=3, draw=random.Random(seed))
    for work in works(line):
        assert work.updates == 2 * NUM_BATCHES + work.replayed
        assert work.replayed <= 3 * 2 * NUM_BATCHES
    assert works(line)[0].replayed == 0  # the source has all the data
    assert sum(work.replayed for work in works(line)) > 0


def test_updates_are_left_out_at_random_and_at_every_stage_by_itself() -> None:
    line = trained(update_probability=0.5, lr=0.01)
    made = [work.updates for work in works(line)]
    assert all(5 < each < 25 for each in made)
    assert len(set(made)) > 1
    assert line.losses[1] < line.losses[0]


def test_without_backpropagation_only_the_head_learns() -> None:
    line = trained(rule="no-bprop", layers=3)
    assert [work.updates for work in works(line)] == [0, 0, 2 * NUM_BATCHES]
    drawn = build_network(line.config, (64,), 10).state_dict()
    weights = line.state_dict()
    unchanged = [name for name in drawn if torch.equal(weights[name], drawn[name])]
    assert unchanged == ["0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"]


@pytest.mark.parametrize("settings", [{}, {"window": 1}, {"rule": "fdg"}], ids=named)
def test_who_has_work_may_hear_neighbours_late(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here each hears them only when it has nothing else to do."""
    monkeypatch.setattr(loop, "LISTEN_S", math.inf)
    assert_it_trained(trained(stages=3, **settings))
