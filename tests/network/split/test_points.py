"""What cannot be split, and what is said of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dni_async.network.split.recording.failures import Unsplittable
from tests.network.split.sameness import assert_same, split


class Net(nn.Module):
    """Three layers; what its forward does is said by each test."""

    def __init__(self, act: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), Taking(4, 4), nn.Linear(4, 4)
        self.calls = 0
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self, x)


class Double(torch.autograd.Function):
    """A function that torch's modes do not see."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return gradient * 2


class Store:
    """Something that modules would write into."""


class Taking(nn.Linear):
    """A layer that is given more than a tensor."""

    def forward(self, x: torch.Tensor, store: object = None) -> torch.Tensor:
        return super().forward(x)


def passing(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.c(net.b(net.a(x), Store()))


def straight(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.c(net.b(net.a(x)))


def branching(net: Any, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    return net.c(net.b(x * 2 if x.sum() > 0 else x))


def counting(net: Any, x: torch.Tensor) -> torch.Tensor:
    net.calls += 1
    return straight(net, x)


def drawing(net: Any, x: torch.Tensor) -> torch.Tensor:
    return straight(net, x) * random.random()


def looping(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.c(net.b(net.b(net.a(x))))


def returning(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.b(net.c(net.b(net.a(x))))


def by_rows(net: Any, x: torch.Tensor) -> torch.Tensor:
    x = net.b(net.a(x))
    return net.c(torch.stack([x[row] for row in range(x.shape[0])]))


def by_length(net: Any, x: torch.Tensor) -> torch.Tensor:
    x = net.b(net.a(x))
    return net.c(x.view(len(x), -1))


def from_numpy(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.c(net.b(net.a(x) * torch.from_numpy(np.ones(4, dtype=np.float32))))


def unseen(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.c(net.b(Double.apply(net.a(x))))


@pytest.mark.parametrize(
    ("act", "points", "said"),
    [
        (straight, ["d"], "'d' names no module of Net; the nearest name is"),
        (straight, ["b.0"], "'b.0' names no module of Net; the nearest name is 'b'"),
        (straight, ["b", "c", "b"], "'b' is named twice"),
        (branching, ["b"], "makes a Python value of a tensor (__bool__), so what the network does"),
        (counting, ["b"], "the forward of Net changes its attribute 'calls', but split points"),
        (drawing, ["b"], "draws from Python's or numpy's random numbers"),
        (looping, ["b"], "'b' is called 2 times in one forward, but a part begins once"),
        (returning, ["c"], "b is used in parts 0 and 1, but weights live in one; leave out the "),
        (by_rows, ["b"], "(__getitem__) does not do the same in batches of 3 and of 2 samples"),
        (by_length, ["b"], "(view) does not do the same in batches of 3 and of 2 samples"),
        (from_numpy, ["b"], "(mul) does not do the same in batches of 3 and of 2 samples"),
        (unseen, ["b"], "uses a tensor that no function of torch has made that can be seen"),
        (passing, ["c"], "passes a Store from module to module; what passes must be tensors and"),
        (lambda net, x: net.c(net.a(x)), ["b"], "'b' is never called by itself"),
    ],
)
def test_one_sentence_names_what_is_in_the_way(act: Any, points: list[str], said: str) -> None:
    with pytest.raises(Unsplittable) as caught:
        split(Net(act), torch.randn(3, 4), points)
    assert said in str(caught.value)


def test_the_users_own_line_is_named() -> None:
    line = branching.__code__.co_firstlineno + 2
    with pytest.raises(Unsplittable, match=f"^test_points.py:{line} makes a Python value"):
        split(Net(branching), torch.randn(3, 4), ["b"])


def test_what_the_user_raises_is_raised() -> None:
    def failing(net: Any, x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("of the user's own")

    with pytest.raises(ZeroDivisionError, match="of the user's own"):
        split(Net(failing), torch.randn(3, 4), ["b"])


def writing(net: Any, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    x[:, 0] = 1
    x += 1
    x = net.b(x).mul_(2)
    return net.c(x) + x.new_zeros(x.size(0), 1) + torch.rand(x.shape[0], 4)


def averaging(net: Any, x: torch.Tensor) -> torch.Tensor:
    size = x.shape[0]
    return net.c(net.b(net.a(x)).mean(0, keepdim=True)).expand(size, -1)


def casting(net: Any, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    with torch.autocast("cpu", torch.bfloat16):
        x = net.b(x) @ torch.ones(4, 4)
    with torch.no_grad():
        scale = x.float().abs().mean()
    return net.c(x.float() / scale)


@pytest.mark.parametrize("act", [writing, averaging, casting, looping])
def test_what_plain_torch_does_parts_do(act: Any) -> None:
    module = Net(act)
    points = ["c"] if act is looping else ["b", "c"]
    chain = split(module, torch.randn(3, 4), points)
    assert_same(module, chain, [torch.randn(3, 4), torch.randn(6, 4)])
