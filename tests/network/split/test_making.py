"""A run's network out of a module: where it is split, and what is said where that cannot be."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from dni_async.errors import ConfigError
from dni_async.network.split.kept import recordings_kept
from dni_async.network.split.making import make_chain
from tests.network.split.networks import CASES, Adapted


def points_of(module: nn.Module) -> list[str]:
    """As a user names them."""
    return [f"blocks.{index}" for index in range(1, len(module.blocks))]


def text_of(module: nn.Module) -> str:
    return "head"


def failing(module: nn.Module) -> list[str]:
    raise KeyError("no such block")


HERE = __name__


@pytest.mark.parametrize(
    ("split", "points"),
    [
        ([], ("blocks.0", "blocks.1", "blocks.2", "head")),
        (["auto"], ("blocks.0", "blocks.1", "blocks.2", "head")),
        (["head", "blocks.1"], ("blocks.1", "head")),
        ([f"{HERE}:points_of"], ("blocks.1", "blocks.2")),
    ],
)
def test_points_are_chosen_named_or_given_by_a_function(
    split: Sequence[str], points: tuple[str, ...]
) -> None:
    assert make_chain(Adapted, "mine", split, (6,)).points == points


@pytest.mark.parametrize("name", ["tagger", "causal"])
def test_samples_may_be_ids(name: str) -> None:
    kind, samples, points, _ = CASES[name]
    assert make_chain(kind, "mine", points, tuple(samples().shape[1:])).points == tuple(points)


@pytest.mark.parametrize(
    ("make", "split", "said"),
    [
        (Adapted, ["bloks.1"], "split: 'bloks.1' names no module of Adapted; the nearest name is"),
        (
            Adapted,
            [f"{HERE}:text_of"],
            "split: .* must give a list of names of modules, gave 'h",
        ),
        (Adapted, [f"{HERE}:failing"], r"split: .*:failing raised KeyError\('no such block'\)"),
        (Adapted, [f"{HERE}:nothing"], "split: '.*' has no callable 'nothing'"),
        (
            lambda: nn.Linear(5, 2),
            [],
            r"model: samples of shape \[6\] do not pass the network",
        ),
        (lambda: nn.LSTM(6, 4), [], "model: LSTM gives a tuple"),
    ],
)
def test_what_is_wrong_is_one_sentence(make: Any, split: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_chain(make, "mine", split, (6,))


def test_a_network_is_recorded_once_where_recordings_are_kept() -> None:
    runs = []

    class Counting(Adapted):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            runs.append(len(x))
            return super().forward(x)

    with recordings_kept():
        one = make_chain(Counting, "mine", ["head"], (6,))
        num_runs = len(runs)
        other = make_chain(Counting, "mine", ["head"], (6,))
        assert len(runs) == num_runs
        assert one[0].stem.weight is not other[0].stem.weight
        make_chain(Counting, "mine", ["blocks.1"], (6,))
        assert len(runs) > num_runs
    num_runs = len(runs)
    make_chain(Counting, "mine", ["head"], (6,))
    assert len(runs) > num_runs


def test_dtypes_are_those_of_the_run() -> None:
    class Casting(nn.Module):
        """Goes by the dtype that comes, and has one product in full precision."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)
            self.register_buffer("places", torch.full((6,), 1 / 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.a(x)
            hidden = hidden + self.places.to(hidden.dtype)
            with torch.autocast("cpu", enabled=False):
                hidden = hidden.float() @ torch.ones(6, 6).to(hidden.device)
            return self.b(hidden)

    torch.manual_seed(0)
    module, x = Casting(), torch.randn(4, 6)
    for dtype, is_cast in (("bf16", True), ("fp32", False)):
        chain = make_chain(lambda: copy.deepcopy(module), "mine", ["b"], (6,), dtype=dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_cast):
            assert torch.equal(chain(x), module(x))
            assert chain(x).dtype == (torch.bfloat16 if is_cast else torch.float32)
