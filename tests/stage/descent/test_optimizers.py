"""The optimizers equal torch's fused ones bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dni_async import ConfigError, RunConfig
from dni_async.stage.descent.making import make_optimizer
from dni_async.stage.descent.optimizers import Adam, Optimizer, Sgd

SHAPES = [(33, 17), (17,), (), (1, 1)]
Make = Callable[[list[torch.Tensor]], Any]
PAIRS: dict[str, tuple[Make, Make]] = {
    "sgd": (
        lambda ps: Sgd(ps, lr=0.1),
        lambda ps: torch.optim.SGD(ps, lr=0.1, fused=True),
    ),
    "sgd, weight decay": (
        lambda ps: Sgd(ps, lr=0.1, weight_decay=0.01),
        lambda ps: torch.optim.SGD(ps, lr=0.1, weight_decay=0.01, fused=True),
    ),
    "sgd, momentum": (
        lambda ps: Sgd(ps, lr=0.1, momentum=0.9),
        lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, fused=True),
    ),
    "sgd, momentum, weight decay": (
        lambda ps: Sgd(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01, fused=True),
    ),
    "adam": (
        lambda ps: Adam(ps, lr=1e-2),
        lambda ps: torch.optim.Adam(ps, lr=1e-2, fused=True),
    ),
    "adam, weight decay": (
        lambda ps: Adam(ps, lr=1e-2, weight_decay=0.1),
        lambda ps: torch.optim.Adam(ps, lr=1e-2, weight_decay=0.1, fused=True),
    ),
    "adam, other betas": (
        lambda ps: Adam(ps, lr=1e-2, betas=(0.5, 0.9), eps=1e-4),
        lambda ps: torch.optim.Adam(ps, lr=1e-2, betas=(0.5, 0.9), eps=1e-4, fused=True),
    ),
    "adamw": (
        lambda ps: Adam(ps, lr=1e-2, decoupled=True),
        lambda ps: torch.optim.AdamW(ps, lr=1e-2, weight_decay=0.0, fused=True),
    ),
    "adamw, weight decay": (
        lambda ps: Adam(ps, lr=1e-2, weight_decay=0.1, decoupled=True),
        lambda ps: torch.optim.AdamW(ps, lr=1e-2, weight_decay=0.1, fused=True),
    ),
}


def random_tensors(seed: int) -> list[torch.Tensor]:
    """One tensor of each shape."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def bits(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """What is really stored, so that 0 and -0 differ."""
    return [tensor.detach().view(torch.int32) for tensor in tensors]


def assert_same_path(pair: tuple[Make, Make], skipped: Callable[[int, int], bool]) -> None:
    """Five updates of both from the same gradients; skipped(update, index): no gradient."""
    ours, theirs = ([t.requires_grad_() for t in random_tensors(0)] for _ in range(2))
    optimizer, reference = pair[0](ours), pair[1](theirs)
    for update in range(5):
        for index, gradient in enumerate(random_tensors(update + 1)):
            if not skipped(update, index):
                ours[index].grad, theirs[index].grad = gradient, gradient.clone()
        optimizer.update()
        reference.step()
        reference.zero_grad()
        assert all(parameter.grad is None for parameter in ours)
        for mine, its in zip(bits(ours), bits(theirs), strict=True):
            assert torch.equal(mine, its), f"update {update}"


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_five_updates_equal_torch_bit_for_bit(pair: tuple[Make, Make]) -> None:
    assert_same_path(pair, lambda update, index: False)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_a_parameter_that_never_has_a_gradient_stays(pair: tuple[Make, Make]) -> None:
    """Neither decay nor momentum may move what is frozen or unused."""
    assert_same_path(pair, lambda update, index: index == 1)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_a_parameter_may_miss_an_update(pair: tuple[Make, Make]) -> None:
    assert_same_path(pair, lambda update, index: update == 2 and index in (0, 3))


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_an_update_without_any_gradient_changes_nothing(pair: tuple[Make, Make]) -> None:
    assert_same_path(pair, lambda update, index: update == 3)


def test_velocity_of_a_late_first_gradient_is_that_gradient() -> None:
    late, early = (torch.ones(1, requires_grad=True) for _ in range(2))
    optimizer = Sgd([late, early], lr=1.0, momentum=0.5)
    early.grad = torch.ones(1)
    optimizer.update()
    late.grad, early.grad = torch.ones(1), torch.ones(1)
    optimizer.update()
    assert late.item() == 0.0
    assert early.item() == 1.0 - 1.0 - 1.5


@pytest.mark.parametrize(
    ("config", "pair"),
    [
        (RunConfig(optimizer="sgd", lr=0.1), "sgd, momentum"),
        (RunConfig(optimizer="sgd", lr=0.1, momentum=0.0), "sgd"),
        (RunConfig(optimizer="adam", lr=1e-2, weight_decay=0.1), "adam, weight decay"),
        (RunConfig(optimizer="adamw", lr=1e-2, weight_decay=0.1), "adamw, weight decay"),
    ],
    ids=["sgd", "sgd without momentum", "adam", "adamw"],
)
def test_a_config_names_its_optimizer(config: RunConfig, pair: str) -> None:
    def make(parameters: list[torch.Tensor]) -> Optimizer:
        return make_optimizer([("", p) for p in parameters], config)

    assert_same_path((make, PAIRS[pair][1]), lambda update, index: False)


@pytest.mark.parametrize("most", [1e-3, 1e3])
def test_adam_clips_as_torch_clips_before_its_updates(most: float) -> None:
    ours, theirs = ([t.requires_grad_() for t in random_tensors(0)] for _ in range(2))
    optimizer = Adam(ours, lr=1e-2, clip_norm=most)
    reference = torch.optim.Adam(theirs, lr=1e-2, fused=True)
    for update in range(3):
        for mine, its, gradient in zip(ours, theirs, random_tensors(update + 1), strict=True):
            mine.grad, its.grad = gradient, gradient.clone()
        optimizer.update()
        torch.nn.utils.clip_grad_norm_(theirs, most)
        reference.step()
        for mine, its in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, its)


def test_nothing_to_clip_is_no_fault() -> None:
    parameter = torch.ones(2, requires_grad=True)
    Adam([parameter], lr=1.0, clip_norm=1.0).update()
    assert torch.equal(parameter, torch.ones(2))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sparse_gradients_update_as_torchs_sgd_does(momentum: float) -> None:
    """Beside dense ones; rows that come twice in a batch count twice."""
    ours, theirs = (
        nn.Sequential(nn.Embedding(7, 3, sparse=True), nn.Flatten(), nn.Linear(6, 2))
        for _ in range(2)
    )
    theirs.load_state_dict(ours.state_dict())
    optimizer = Sgd(ours.parameters(), lr=0.1, momentum=momentum)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=momentum)
    for ids in ([[1, 1], [2, 0]], [[3, 1], [6, 6]], [[1, 2], [0, 5]]):
        ours(torch.tensor(ids)).square().sum().backward()
        optimizer.update()
        reference.zero_grad()
        theirs(torch.tensor(ids)).square().sum().backward()
        reference.step()
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other)
            assert one.grad is None


def test_sparse_gradients_that_torch_does_not_take_are_refused_in_a_sentence() -> None:
    table = nn.Embedding(7, 3, sparse=True)
    for optimizer, setting in (
        (Adam(table.parameters(), lr=0.1), "optimizer"),
        (Sgd(table.parameters(), lr=0.1, weight_decay=0.1), "weight_decay"),
    ):
        table(torch.tensor([1])).sum().backward()
        with pytest.raises(ConfigError, match=f"{setting}: .*sparse"):
            optimizer.update()
