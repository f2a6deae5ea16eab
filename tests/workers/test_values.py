"""Lines between whose stages several values pass: some with, some without a gradient, some relayed.

The networks are in value_networks; what is true of every line is in test_in_memory.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs import baseline
from tests.workers.lines import SMALL, assert_it_trained, trained
from tests.workers.value_networks import FACTORIES

pytestmark = pytest.mark.usefixtures("as_in_a_worker")


def of(factory: str, **settings: Any) -> dict[str, Any]:
    """Settings of a run of one of the networks."""
    return {"model": f"tests.workers.value_networks:{factory}", "layers": 4, **settings}


@pytest.mark.parametrize("stages", [None, 2])
@pytest.mark.parametrize("factory", FACTORIES)
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
        ("skip", {"rule": "dgl"}),
        ("skip", {"wire_dtype": "int8", "targets": "bootstrap"}),
        ("masked", {"wire_dtype": "bf16", "wire_zeros": "omit", "rule": "fdg"}),
        ("masked", {"dtype": "bf16", "rule": "backprop"}),
    ],
    ids=str,
)
def test_every_rule_trains(factory: str, settings: dict[str, Any]) -> None:
    line = trained(**of(factory, lr=0.01, **settings), draw=random.Random(1))
    assert_it_trained(line)
