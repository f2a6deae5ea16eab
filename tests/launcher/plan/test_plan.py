"""What a plan finds out: names of hosts, once; what is to be said before the start."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from dni_async import ConfigError
from dni_async.config.run_config import RunConfig
from dni_async.launcher.plan.plan import make_plan
from tests import plain_networks
from tests.workers.test_in_memory_plain_torch import write_images


def test_where_workers_join_is_an_address_from_the_start() -> None:
    config = RunConfig(workers=("remote",), listen="tcp://localhost:0")
    plan = make_plan(config)
    assert (plan.control_address, plan.own_address) == ("tcp://127.0.0.1:0", "127.0.0.1")
    assert plan.own_address is plan.own_address  # not asked for again


def test_what_an_optimizer_leaves_out_is_said_before_the_start() -> None:
    config = RunConfig(optimizer="tests.own_optimizers:heads_only", layers=3, norm="none")
    (note,) = make_plan(config).notes
    assert note == (
        "the optimizer leaves out 4 parameters, which will not change: 0.0.weight, 0.0.bias, "
        "1.0.weight, ..."
    )
    assert make_plan(RunConfig(optimizer="tests.own_optimizers:nadam", layers=3)).notes == ()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metrics": ("mae",)}, "metrics: mae compares outputs with targets of the same shape"),
        ({"metrics": ("top-11",)}, "metrics: top-11 needs at least 11 classes"),
        ({"metrics": ("builtins:max",)}, "metrics: max raised "),
        ({"metrics": ("nowhere:none",)}, "metrics: cannot import 'nowhere'"),
        ({"target": 97.0}, "target: accuracy is a share, so it must be in (0, 1]"),
    ],
)
def test_a_metric_that_does_not_fit_is_told_before_the_start(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        make_plan(RunConfig.from_dict(settings))


def test_what_is_measured_is_settled_in_the_plan() -> None:
    assert make_plan(RunConfig()).config.metrics == ("accuracy",)
    plan = make_plan(RunConfig(metrics=("top-3", "loss"), metric="perplexity"))
    assert plan.config.metrics == ("top-3", "loss", "perplexity")
    assert plan.config.goal.metric == "perplexity"


def test_what_this_host_lacks_is_told_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"devices: cuda:999 was asked for, but .*(cpu|cuda:0 to)"
    ):
        make_plan(RunConfig(devices=("cuda:999",)))
    nowhere = RunConfig(transport="tcp", keys=str(tmp_path / "nowhere"))
    with pytest.raises(
        ConfigError, match=r"keys: .* is no folder; 'dni-launch keys DIR' makes one"
    ):
        make_plan(nowhere)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        joined = RunConfig(workers=("remote",), listen=address)
        with pytest.raises(ConfigError, match=rf"listen: {address} .* in use; take another port"):
            make_plan(joined)


class Viewed(torch.nn.Flatten):
    """As many write it, which asks for rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), -1)


def viewed() -> torch.nn.Sequential:
    network = plain_networks.cnn()
    network[8].stride = (1, 1)
    network[11], network[13] = Viewed(), torch.nn.Linear(8 * 4, plain_networks.NUM_CLASSES)
    return network


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"model": "tests.plain_networks:cnn"}, "channels-last"),
        ({"model": "tests.plain_networks:cnn", "memory_format": "contiguous"}, "contiguous"),
        ({"model": "tests.plain_networks:cnn", "rule": "backprop"}, "contiguous"),
        ({"model": "tests.launcher.plan.test_plan:viewed"}, "contiguous"),
        ({}, "contiguous"),
    ],
    ids=["convolutions", "asked", "exact", "view", "mlp"],
)
def test_convolutions_are_channels_last_where_that_goes(
    settings: dict[str, Any], found: str, tmp_path: Path
) -> None:
    write_images(tmp_path / "data.npz")
    config = RunConfig(data=str(tmp_path / "data.npz"), batch_size=16, stages=2, **settings)
    assert make_plan(config).config.memory_format == found


def test_a_network_that_does_not_take_channels_last_is_told_of(tmp_path: Path) -> None:
    write_images(tmp_path / "data.npz")
    config = RunConfig(
        data=str(tmp_path / "data.npz"),
        model="tests.launcher.plan.test_plan:viewed",
        memory_format="channels-last",
        batch_size=16,
        stages=2,
    )
    with pytest.raises(ConfigError, match=r"memory_format: the network does not take channels"):
        make_plan(config)
