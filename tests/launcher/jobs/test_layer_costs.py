from __future__ import annotations

import pytest
import torch

from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs.layer_costs import layer_costs
from dni_async.network.building import build_network
from dni_async.stage.losses.catalog import make_loss


@pytest.mark.parametrize(
    ("settings", "has_boundaries"),
    [
        ({}, True),
        ({"targets": "bootstrap", "synthesizer": "linear"}, True),
        ({"rule": "fdg", "norm": "batch"}, False),
        ({"rule": "backprop", "optimizer": "sgd"}, False),
        ({"dtype": "bf16"}, True),
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
