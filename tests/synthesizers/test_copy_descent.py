"""Copies learn as what they are copies of: the head's own weights, and its true gradient."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.seeding import stage_seed
from dni_async.stage.descent.optimizers import Sgd
from dni_async.stage.draws import Draws
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.making import make_stage
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.copy_descent import Paced, copy_optimizer
from dni_async.synthesizers.making import make_boundary
from tests.stage.test_stage import random

NUM_BATCHES = 5
LABELS = run_loss(RunConfig(), TargetForm(3), (3,))


def head() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def boundary_below(network: nn.Sequential, config: RunConfig) -> Boundary:
    made = copy.deepcopy(network)
    return make_boundary(
        config, LABELS, torch.device("cpu"), lambda _: (made, True), num_batches=NUM_BATCHES
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr_schedule": "cosine"},
        {"optimizer": "sgd", "lr_schedule": "linear", "warmup_updates": 2},
        {"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 0.1},
        {"optimizer": "muon", "lr_schedule": "cosine"},
    ],
    ids=["constant", "cosine", "warm-up", "clipped", "muon"],
)
def test_a_copy_of_the_head_gives_its_gradient_at_every_batch(settings: dict[str, Any]) -> None:
    """Bit for bit, as it makes the same updates."""
    config, network = RunConfig(**settings), head()
    boundary = boundary_below(network, config)
    draws = Draws(stage_seed(0, 1), 1, [0])
    stage = make_stage(network, config, LABELS, index=1, num_batches=NUM_BATCHES, draws=draws)
    for batch in range(NUM_BATCHES):
        hidden, targets = random(6, 2, 4, 4, seed=batch), torch.arange(6) % 3
        leaf = hidden.clone().requires_grad_()
        with torch.enable_grad():
            LABELS.mean(network(leaf.clone()), targets).backward()  # type: ignore[no-untyped-call]
        stage.apply()
        found = boundary.predict(hidden, targets)
        assert isinstance(found, torch.Tensor)
        assert leaf.grad is not None
        torch.testing.assert_close(found, leaf.grad)
    for name, value in boundary.make((2, 4, 4), -1).network.state_dict().items():  # type: ignore[attr-defined]
        torch.testing.assert_close(value, network.state_dict()[name])


def test_a_rate_of_its_own_follows_the_schedule_too() -> None:
    """W <- W - r f g, with r = 0.5 and f = 1, 0.5; the norm of g, 5, is brought to 1 before."""
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    paced = Paced(Sgd([weight], lr=0.5), [weight], rate_factor=lambda n: 1 / (1 + n), clip_norm=1.0)
    for wanted in ([0.7, 1.6], [0.55, 1.4]):
        weight.grad = torch.tensor([3.0, 4.0])
        paced.update()
        torch.testing.assert_close(weight.detach(), torch.tensor(wanted))


def test_gathered_batches_are_one_update_of_the_schedule() -> None:
    weight = torch.zeros(1, requires_grad=True)
    asked: list[int] = []

    def factor(update: int) -> float:
        asked.append(update)
        return 1.0

    paced = Paced(Sgd([weight], lr=1.0), [weight], rate_factor=factor, num_batches=2)
    for _ in range(4):
        weight.grad = torch.ones(1)
        paced.update()
    assert asked == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("settings", "rate", "of_a_part"),
    [
        ({}, 1e-3, 3e-3),
        ({"lr": 0.02}, 0.02, 0.02),
        ({"lr": 0.02, "synthesizer_lr": 0.1}, 0.1, 0.1),
        ({"lr": 0.02, "optimizer": "sgd"}, 0.02, 3e-3),
        ({"optimizer": "torch.optim:NAdam"}, 3e-3, 3e-3),  # may be one of a whole network's
    ],
    ids=["default", "the run's", "own", "sgd", "own optimizer"],
)
def test_the_rate(settings: dict[str, Any], rate: float, of_a_part: float) -> None:
    network, config = head(), RunConfig(**settings)
    parameters = list(network.parameters())
    rates = [
        copy_optimizer(config, network, parameters, 1, is_whole=is_whole).lr
        for is_whole in (True, False)
    ]
    assert rates == [rate, of_a_part]


def test_where_it_is_on_its_schedule_travels() -> None:
    config = RunConfig(lr_schedule="cosine")
    ours, theirs = (boundary_below(head(), config) for _ in range(2))
    targets = torch.arange(6) % 3
    for batch in range(2):
        ours.predict(random(6, 2, 4, 4, seed=batch), targets)
    theirs.make((2, 4, 4), -1)
    with torch.no_grad():
        for name, tensor in theirs.tensors().items():
            tensor.copy_(ours.tensors()[name])
    for batch in range(2, NUM_BATCHES):
        hidden = random(6, 2, 4, 4, seed=batch)
        one, other = ours.predict(hidden, targets), theirs.predict(hidden, targets)
        assert torch.equal(one, other)  # type: ignore[arg-type]
