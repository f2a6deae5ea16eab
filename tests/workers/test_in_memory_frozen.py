"""Networks of which only a part trains: that part does, and nothing else moves by a bit."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.network.building import build_network
from tests.workers.lines import NUM_BATCHES, SMALL, named, trained, works

pytestmark = pytest.mark.usefixtures("as_in_a_worker")
every_network = pytest.mark.parametrize("network", ["backbone", "head", "adapters"])


def config_of(network: str, **settings: Any) -> dict[str, Any]:
    """Four layers, whether they train or not."""
    return {**SMALL, "lr": 0.01, "model": f"tests.frozen_networks:{network}", **settings}


@every_network
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "torch.optim:AdamW"])
@pytest.mark.parametrize("stages", [1, 4])
def test_lockstep_equals_torch_bit_for_bit(network: str, optimizer: str, stages: int) -> None:
    settings = config_of(network, rule="backprop", optimizer=optimizer, weight_decay=0.01)
    line = trained(stages=stages, **settings)
    config = RunConfig(**settings)
    inputs, plain = Inputs.from_config(config), build_network(config, (64,), 10).train()
    parameters = plain.parameters()
    made: torch.optim.Optimizer
    if optimizer == "sgd":
        made = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=0.01, fused=True)
    else:
        kind = torch.optim.Adam if optimizer == "adam" else torch.optim.AdamW
        made = kind(parameters, lr=0.01, weight_decay=0.01, fused=optimizer == "adam")
    for epoch, index in itertools.product(range(1, config.epochs + 1), range(NUM_BATCHES)):
        x, y = inputs.train_batch(epoch, index)
        made.zero_grad()
        functional.cross_entropy(plain(x), y).backward()  # type: ignore[no-untyped-call]
        made.step()
    weights = line.state_dict()
    for name, weight in plain.state_dict().items():
        assert torch.equal(weights[name], weight), name


@every_network
@pytest.mark.parametrize(
    "rule",
    [
        {"targets": "anchor", "anchor_every": 4, "anchor_updates": True},
        {"targets": "bootstrap", "synthesizer": "linear"},
        {"rule": "dgl"},
        {"rule": "fdg"},
        {"unlock": "forward", "targets": "bootstrap"},
        {"accumulate": 2, "clip_norm": 1.0},
    ],
    ids=named,
)
def test_what_is_frozen_stays_under_every_rule(network: str, rule: dict[str, Any]) -> None:
    settings = config_of(network, epochs=4, window=2, weight_decay=0.1, **rule)
    line = trained(**settings)
    drawn = build_network(RunConfig(**settings), (64,), 10)
    weights = line.state_dict()
    for name, parameter in drawn.named_parameters():
        assert torch.equal(weights[name], parameter) is not parameter.requires_grad, name
    assert all(map(math.isfinite, line.losses))
    if network == "backbone" and "unlock" not in rule:  # the head's gradient is a true one
        assert line.losses[-1] < line.losses[0]
    expected = 4 * NUM_BATCHES // line.config.accumulate
    assert [work.updates for work in works(line)] == [expected] * 4
