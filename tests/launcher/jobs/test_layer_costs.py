from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs import layer_costs as layer_costs_module
from dni_async.launcher.jobs.layer_costs import layer_costs
from dni_async.network.building import build_network
from dni_async.network.partition import balance_layers
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.making import make_stage
from dni_async.stage.stage import Stage


@pytest.mark.parametrize(
    ("settings", "has_boundaries"),
    [
        ({}, True),
        ({"targets": "bootstrap", "synthesizer": "linear"}, True),
        ({"rule": "fdg", "norm": "batch"}, False),
        ({"rule": "backprop", "optimizer": "sgd"}, False),
        ({"dtype": "bf16"}, True),
        ({"accumulate": 3, "clip_norm": 0.1, "lr_schedule": "cosine"}, True),
    ],
)
def test_every_layer_takes_time(settings: dict[str, object], has_boundaries: bool) -> None:
    config = RunConfig.from_dict({"layers": 3, "width": 32, **settings})
    network = build_network(config, (64,), 10)
    x, y = torch.rand(16, 64), torch.arange(16) % 10
    costs = layer_costs(network, x, y, config, make_loss("cross-entropy", (10,)))
    assert len(costs) == 3
    assert all(cost.own > 0 for cost in costs)
    assert all(cost.inputs >= 0 for cost in costs)
    assert costs[0].inputs == 0
    assert [cost.boundary > 0 for cost in costs] == [has_boundaries, has_boundaries, False]
    assert all(bool(p.isfinite().all()) for p in network.parameters())


def test_a_layer_is_measured_as_the_worker_computes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With gathering, every batch has its part of an update, and every update is clipped."""
    made = []

    def remember(*args: Any, **named: Any) -> Stage:
        made.append(make_stage(*args, **named))
        return made[-1]

    monkeypatch.setattr(layer_costs_module, "make_stage", remember)
    config = RunConfig(layers=2, width=8, accumulate=4, clip_norm=0.5)
    network = build_network(config, (64,), 10)
    x, y = torch.rand(16, 64), torch.arange(16) % 10
    layer_costs(network, x, y, config, make_loss("cross-entropy", (10,)))
    counts = [(stage.index, stage.version) for stage in made]
    rounds = layer_costs_module.WARM_UP + layer_costs_module.REPEATS
    assert counts == [(0, rounds), (1, 2 * rounds)]  # the upper one with an input gradient too
    assert all(stage.updates.accumulated is not None for stage in made)


@pytest.mark.parametrize(
    ("factory", "settings", "dear"),
    [
        ("tied", {}, [False, True, False, False]),
        ("recurrent", {}, [True, True, False]),  # states are no samples
        ("recurrent", {"rule": "fdg"}, [False] * 3),
        ("masked", {"targets": "bootstrap"}, [False] * 4),
        ("skip", {"wire_dtype": "int8"}, [False] * 5),
    ],
)
def test_where_no_stage_may_end_a_boundary_is_infinitely_dear(
    factory: str, settings: dict[str, object], dear: list[bool]
) -> None:
    model = f"tests.workers.value_networks:{factory}"
    config = RunConfig.from_dict({"model": model, **settings})
    network = build_network(config, (64,), 10)
    x, y = torch.rand(16, 64), torch.arange(16) % 10
    costs = layer_costs(network, x, y, config, make_loss("cross-entropy", (10,)))
    assert [math.isinf(cost.boundary) for cost in costs] == dear
    for count in range(1, len(costs) + 1 - sum(dear)):
        ends = [end for _, end in balance_layers(costs, count)]
        assert not any(dear[end - 1] for end in ends)
