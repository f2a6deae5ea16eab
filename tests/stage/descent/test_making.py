"""What makes a run's optimizer: what the settings say to it, and what is refused."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from dni_async import ConfigError, RunConfig
from dni_async.config.names import OPTIMIZERS, TORCH_OPTIMIZERS
from dni_async.stage.descent.making import MAKERS, is_joint, left_out, make_optimizer
from dni_async.stage.descent.torch_optimizers import TorchOptimizers


def network() -> nn.Sequential:
    """Matrices and vectors."""
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's own."""
    module = ModuleType("mine")
    monkeypatch.setitem(sys.modules, "mine", module)
    return module


def made(make: Any, own: ModuleType, **settings: Any) -> list[torch.optim.Optimizer]:
    """The optimizers of the whole network."""
    vars(own)["make"] = make
    named = list(network().named_parameters())
    optimizer = make_optimizer(named, RunConfig(optimizer="mine:make", **settings))
    assert isinstance(optimizer, TorchOptimizers)
    return [part.optimizer for part in optimizer._parts]


def test_every_name_has_its_maker() -> None:
    assert set(OPTIMIZERS) == set(MAKERS)


def test_torch_has_what_is_suggested() -> None:
    for name in TORCH_OPTIMIZERS:
        assert issubclass(getattr(torch.optim, name.partition(":")[2]), torch.optim.Optimizer)


def test_a_class_gets_the_rate_and_the_decay_of_the_run(own: ModuleType) -> None:
    (optimizer,) = made(torch.optim.NAdam, own, lr=0.25, weight_decay=0.125)
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.25, 0.125)


def test_what_is_not_said_is_a_class_s_own(own: ModuleType) -> None:
    for kind in (torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adadelta):
        (optimizer,) = made(kind, own)
        assert optimizer.defaults == kind(network().parameters()).defaults
    (optimizer,) = made(torch.optim.AdamW, own, weight_decay=0.0)
    assert optimizer.defaults["weight_decay"] == 0.0
    (optimizer,) = made(torch.optim.SGD, own, momentum=0.5)
    assert optimizer.defaults["momentum"] == 0.5


def test_what_a_partial_says_stands(own: ModuleType) -> None:
    (optimizer,) = made(functools.partial(torch.optim.SGD, lr=0.5, momentum=0.25), own)
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("make", "settings", "name"),
    [
        (functools.partial(torch.optim.SGD, lr=0.5), {"lr": 0.1}, "lr"),
        (lambda named: torch.optim.SGD(dict(named).values(), lr=0.5), {"lr": 0.1}, "lr"),
        (torch.optim.NAdam, {"momentum": 0.5}, "momentum"),
        (functools.partial(torch.optim.Adam, weight_decay=0.5), {"weight_decay": 1.0}, "weight_d"),
        (torch.optim.SparseAdam, {"weight_decay": 1.0}, "weight_decay"),
    ],
)
def test_a_setting_that_nobody_would_hear_is_refused(
    own: ModuleType, make: Any, settings: dict[str, float], name: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{name}.* leave out"):
        made(make, own, **settings)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda named: 1 / 0, "^optimizer: <lambda> raised ZeroDivisionError: division by zero$"),
        (
            lambda named: None,
            "^optimizer: <lambda> gave a NoneType, needs a torch.optim.Optimizer",
        ),
        (lambda named: [], "^optimizer: <lambda> gave an empty list"),
        (torch.optim.LBFGS, "^optimizer: LBFGS computes the loss again .* needs no closure$"),
        (torch.optim.Muon, r"^optimizer: Muon raised ValueError: Muon only supports 2D"),
        (
            lambda named: torch.optim.SGD(network().parameters(), lr=1.0),
            "^optimizer: <lambda> gave a SGD of parameters that are none of the network's; take",
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence(own: ModuleType, make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(make, own)


def test_a_name_that_torch_does_not_have_gets_the_nearest() -> None:
    named = list(network().named_parameters())
    with pytest.raises(ConfigError, match=r"did you mean torch\.optim:NAdam"):
        make_optimizer(named, RunConfig(optimizer="torch.optim:Nadam"))


class Joint(torch.optim.SGD):
    """Whose rate goes by the norm of all gradients."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update."""
        nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.1)
        super().step()


def test_one_that_goes_by_all_parameters_together_is_known(own: ModuleType) -> None:
    named = list(network().named_parameters())
    before = [p.detach().clone() for _, p in named]
    for make, expected in (
        (Joint, True),
        (torch.optim.NAdam, False),
        (lambda named: torch.optim.Adagrad([p for name, p in named if name == "2.bias"]), False),
        (torch.optim.SparseAdam, False),
    ):
        vars(own)["make"] = make
        assert is_joint(named, RunConfig(optimizer="mine:make")) is expected
    assert not is_joint(named, RunConfig())
    assert all(torch.equal(p, was) for (_, p), was in zip(named, before, strict=True))


def test_what_is_left_out_is_known_and_the_frozen_are_not(own: ModuleType) -> None:
    given = network()
    given[1].requires_grad_(False)
    named = list(given.named_parameters())
    vars(own)["make"] = lambda named: torch.optim.SGD([p for n, p in named if n == "0.bias"], lr=1)
    assert left_out(named, RunConfig(optimizer="mine:make")) == ["0.weight", "2.weight", "2.bias"]
    assert left_out(named, RunConfig(optimizer="torch.optim:NAdam")) == []
    assert left_out(named, RunConfig(optimizer="sgd")) == []
