"""Lockstep with any optimizer and schedule equals the loop that its user would write for torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.network.building import build_network
from tests import own_optimizers as own
from tests.workers.lines import NUM_BATCHES, SMALL, trained, works

pytestmark = pytest.mark.usefixtures("as_in_a_worker")
LR = 0.003
Make = Callable[[nn.Module], list[torch.optim.Optimizer]]
PLAINLY: dict[str, Make] = {
    "nesterov": lambda net: [
        torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    ],
    "nadam": lambda net: [torch.optim.NAdam(net.parameters(), lr=LR, betas=(0.8, 0.99))],
    "rmsprop": lambda net: [
        torch.optim.RMSprop(net.parameters(), lr=LR, momentum=0.5, centered=True)
    ],
    "muon_beside_adamw": lambda net: own.muon_beside_adamw(net.named_parameters()),
    "slower_below": lambda net: [own.slower_below(net.named_parameters())],
    "heads_only": lambda net: [own.heads_only(net.named_parameters())],
    "keeps_count_in_group": lambda net: [own.keeps_count_in_group(net.parameters(), lr=LR)],
}


def plainly_trained(
    config: RunConfig, optimizers: Callable[[nn.Module], Sequence[torch.optim.Optimizer]]
) -> dict[str, torch.Tensor]:
    """By torch alone, with its own clipping and its own schedule."""
    inputs = Inputs.from_config(config)
    network = build_network(config, (64,), 10)
    made = optimizers(network)
    num_updates = config.epochs * NUM_BATCHES
    schedule = {"constant": lambda *_: 1.0}.get(config.lr_schedule, own.waves)
    rates = [
        torch.optim.lr_scheduler.LambdaLR(each, lambda update: schedule(update, num_updates))
        for each in made
    ]
    for epoch, index in itertools.product(range(1, config.epochs + 1), range(NUM_BATCHES)):
        x, y = inputs.train_batch(epoch, index)
        network.zero_grad()
        functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        for optimizer in made:
            optimizer.step()
        for rate in rates:
            rate.step()
    return dict(network.state_dict())


@pytest.mark.parametrize("name", PLAINLY)
@pytest.mark.parametrize("stages", [1, 2, 4])
def test_lockstep_equals_torch_bit_for_bit(stages: int, name: str) -> None:
    """With four stages, some have nothing for one of two optimizers, or for the only one."""
    settings: dict[str, Any] = {
        "rule": "backprop",
        "optimizer": f"tests.own_optimizers:{name}",
        "norm": "layer",
    }
    if name in ("nesterov", "muon_beside_adamw", "slower_below", "heads_only"):
        settings["lr"] = None  # they say it themselves
    line = trained(stages=stages, lr_schedule="tests.own_optimizers:waves", **settings)
    config = RunConfig(**{**SMALL, **settings, "lr_schedule": "tests.own_optimizers:waves"})  # type: ignore[arg-type]
    expected = plainly_trained(config, PLAINLY[name])
    weights = line.state_dict()
    assert weights.keys() == expected.keys()
    for key, weight in expected.items():
        assert torch.equal(weights[key], weight), key
    drawn = build_network(config, (64,), 10).state_dict()
    unchanged = {key for key in drawn if torch.equal(drawn[key], weights[key])}
    assert all(name == "heads_only" and not key.startswith("3.") for key in unchanged)


@pytest.mark.parametrize("stages", [2, 4])
def test_muon_makes_the_same_updates_in_any_stages(stages: int) -> None:
    """Also in one that has the readout, and in one that has vectors of a norm alone."""
    settings = {"rule": "backprop", "optimizer": "muon", "norm": "layer", "weight_decay": 0.1}
    expected = trained(stages=1, **settings).state_dict()
    for key, weight in trained(stages=stages, **settings).state_dict().items():
        assert torch.equal(weight, expected[key]), key


def test_one_stage_clips_as_torch_does_whatever_the_optimizer() -> None:
    settings = {"optimizer": "torch.optim:Adamax", "clip_norm": 0.5, "norm": "layer"}
    line = trained(stages=1, rule="backprop", **settings)
    expected = plainly_trained(
        RunConfig(**{**SMALL, **settings}),  # type: ignore[arg-type]
        lambda net: [torch.optim.Adamax(net.parameters(), lr=LR)],
    )
    for key, weight in line.state_dict().items():
        torch.testing.assert_close(weight, expected[key])


@pytest.mark.parametrize("rule", [{"targets": "bootstrap"}, {"rule": "dgl"}, {"rule": "fdg"}])
def test_every_rule_trains_with_it(rule: dict[str, str]) -> None:
    line = trained(
        optimizer="tests.own_optimizers:muon_beside_adamw", lr=None, window=2, accumulate=3,
        epochs=4, staleness_power=0.5, **rule,
    )  # fmt: skip
    assert line.losses[-1] < line.losses[0]
    assert {work.updates for work in works(line)} == {4 * NUM_BATCHES // 3}
