"""Lines whose stages are parts of a module that was split: they train what its user wrote.

The networks are in split_networks; what is true of every line is in test_in_memory.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.network.building import build_module, build_network, layer_starts
from dni_async.network.split.parts import Chain
from dni_async.network.split.whole import call_whole
from dni_async.stage.draws import Draws
from tests.own_optimizers import by_module
from tests.workers.lines import NUM_BATCHES, SMALL, assert_it_trained, trained
from tests.workers.split_networks import FACTORIES

pytestmark = pytest.mark.usefixtures("as_in_a_worker")


def of(factory: str, **settings: Any) -> dict[str, Any]:
    """Settings of a run of one of the networks."""
    return {
        **SMALL,
        "model": f"tests.workers.split_networks:{factory}",
        "split": tuple(FACTORIES[factory]),
        **settings,
    }


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("stages", [2, 4])
@pytest.mark.parametrize("is_own", [False, True], ids=["adamw", "groups by the module's names"])
def test_lockstep_equals_the_module_in_plain_torch_bit_for_bit(
    factory: str, stages: int, is_own: bool
) -> None:
    chosen: dict[str, Any] = {"optimizer": "adamw", "weight_decay": 0.01}
    if is_own:
        chosen = {"optimizer": "tests.own_optimizers:by_module", "lr": None}
    settings = of(factory, rule="backprop", epochs=1, **chosen)
    line = trained(stages=stages, **settings)
    config = RunConfig(**settings)
    inputs, module = Inputs.from_config(config), build_module(config, (64,), 10).train()
    draws, current = Draws(config.seed, 0, range(4)), [0]
    for index, name in enumerate(["", *FACTORIES[factory]]):
        module.get_submodule(name).register_forward_pre_hook(
            lambda _module, _inputs, index=index: draws.begin(
                index, current[0], torch.device("cpu")
            ),
            prepend=True,
        )
    made: torch.optim.Optimizer
    made = torch.optim.AdamW(module.parameters(), lr=0.003, weight_decay=0.01, fused=True)
    if is_own:
        made = by_module(module.named_parameters())
    batch_ids = itertools.count()
    for index in range(NUM_BATCHES):
        current[0] = next(batch_ids)
        x, y = inputs.train_batch(1, index)
        made.zero_grad()
        functional.cross_entropy(call_whole(module, x), y).backward()  # type: ignore[no-untyped-call]
        made.step()
    weights = line.state_dict()
    assert set(weights) == set(module.state_dict())
    for name, weight in module.state_dict().items():
        assert torch.equal(weights[name], weight), name


@pytest.mark.parametrize(
    ("factory", "settings"),
    [
        ("dense", {"targets": "bootstrap"}),
        ("images", {"targets": "anchor", "anchor_every": 2, "anchor_updates": True}),
        ("images", {"rule": "fdg"}),
        ("dense", {"rule": "dgl"}),
    ],
    ids=str,
)
def test_every_rule_trains_parts(factory: str, settings: dict[str, Any]) -> None:
    line = trained(draw=random.Random(1), **of(factory, **{"lr": 0.01, **settings}))
    assert_it_trained(line)


def test_each_part_is_a_layer_and_a_line_is_cut_where_auto_says() -> None:
    config = RunConfig(**of("dense", split=()))
    network = build_network(config, (64,), 10)
    assert isinstance(network, Chain)
    assert layer_starts(network) == list(range(len(network)))
    again = RunConfig(**of("dense", split=network.points))
    assert build_network(again, (64,), 10).state_dict().keys() == network.state_dict().keys()
