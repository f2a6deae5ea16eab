"""Layers computed by hand: autograd's numbers bit for bit, and only for layers they fit."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from dni_async.stage.dense import DenseLayers, lone_linear


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "one": lambda: nn.Sequential(nn.Linear(64, 32)),
    "one and ReLU": lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU()),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Linear(64, 48), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Linear(48, 48, bias=False), nn.ReLU()),
        nn.Sequential(nn.Linear(48, 32)),
    ),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_numbers_equal_autograds_bit_for_bit(
    make: Callable[[], nn.Sequential], dtype: torch.dtype | None, batch_size: int
) -> None:
    layers = make()
    reference = copy.deepcopy(layers)
    dense = DenseLayers.match(layers, dtype)
    assert dense is not None
    for seed in range(3):
        x, gradient = random(batch_size, 64, seed=seed), random(batch_size, 32, seed=seed + 9)
        inputs = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            outputs = reference(inputs)
        gradient = gradient.to(outputs.dtype)
        outputs.backward(gradient)

        tensors = dense.forward(x)
        assert torch.equal(tensors[-1], outputs.detach())
        pulled = dense.pull_back(tensors, gradient, to_parameters=True, to_inputs=True)
        assert pulled is not None
        assert torch.equal(pulled.float(), inputs.grad)  # type: ignore[arg-type]
        for mine, its in zip(layers.parameters(), reference.parameters(), strict=True):
            assert torch.equal(mine.grad, its.grad)  # type: ignore[arg-type]
            with torch.no_grad():  # the next round meets other weights
                mine -= 0.1 * mine.grad  # type: ignore[operator]
                its -= 0.1 * its.grad  # type: ignore[operator]
            mine.grad = its.grad = None


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_late_gradient_goes_through_the_weights_of_then(dtype: torch.dtype | None) -> None:
    layers = NETWORKS["one"]()
    dense = DenseLayers.match(layers, dtype)
    assert dense is not None
    tensors, gradient = dense.forward(random(4, 64)), random(4, 32).to(dtype)
    with torch.no_grad():
        layers[0].weight.mul_(2)
    pulled = dense.pull_back(tensors, gradient, to_parameters=False, to_inputs=True, is_late=True)
    with torch.no_grad():
        assert torch.equal(pulled, gradient @ layers[0].weight.to(dtype))  # type: ignore[arg-type]


def test_only_what_is_asked_for_is_computed() -> None:
    layers = NETWORKS["nested"]()
    next(layers.parameters()).requires_grad_(False)
    dense = DenseLayers.match(layers)
    assert dense is not None
    tensors = dense.forward(random(4, 64))
    gradient = random(4, 32)
    assert dense.pull_back(tensors, gradient, to_parameters=True, to_inputs=False) is None
    frozen, *others = layers.parameters()
    assert frozen.grad is None
    assert all(parameter.grad is not None for parameter in others)


def test_a_gradient_of_another_shape_is_refused() -> None:
    dense = DenseLayers.match(NETWORKS["one"]())
    assert dense is not None
    with pytest.raises(ValueError, match=r"gradient is \[4, 31\], needs \[4, 32\]"):
        dense.pull_back(
            dense.forward(random(4, 64)), random(4, 31), to_parameters=True, to_inputs=False
        )


def hooked() -> nn.Sequential:
    """A linear layer that does more than it seems."""
    layers = NETWORKS["one"]()
    layers[0].register_forward_hook(lambda *_: None)
    return layers


def hooked_outside() -> nn.Sequential:
    """A nested Sequential that does more than it seems."""
    layers = NETWORKS["nested"]()
    layers[1].register_forward_pre_hook(lambda *_: None)
    return layers


class Doubled(nn.Linear):
    """A linear layer whose forward is another."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


OTHERS: dict[str, Callable[[], nn.Sequential]] = {
    "nothing": nn.Sequential,
    "no linear layer": lambda: nn.Sequential(nn.ReLU()),
    "ReLU first": lambda: nn.Sequential(nn.ReLU(), nn.Linear(64, 32)),
    "two ReLUs": lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.ReLU()),
    "norm": lambda: nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU()),
    "dropout": lambda: nn.Sequential(nn.Linear(64, 32), nn.Dropout()),
    "float64": lambda: nn.Sequential(nn.Linear(64, 32, dtype=torch.float64)),
    "subclass": lambda: nn.Sequential(Doubled(64, 32)),
    "parametrized": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(64, 32))),
    "hook": hooked,
    "hook outside": hooked_outside,
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())
def test_other_layers_are_left_to_autograd(make: Callable[[], nn.Sequential]) -> None:
    assert DenseLayers.match(make()) is None


@pytest.mark.parametrize(
    ("inputs", "fits"),
    [
        (torch.zeros(3, 64), True),
        (torch.zeros(3, 2, 64), False),
        (torch.zeros(3, 64, dtype=torch.bfloat16), False),
    ],
)
def test_inputs_that_fit(inputs: torch.Tensor, fits: bool) -> None:
    dense = DenseLayers.match(NETWORKS["one"]())
    assert dense is not None
    assert dense.takes(inputs) is fits


def hooked_around() -> nn.Sequential:
    """One linear layer in a Sequential that does more than it seems."""
    inner = NETWORKS["one"]()
    inner.register_forward_hook(lambda *_: None)
    return nn.Sequential(inner)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(64, 32, bias=False)),
        lambda: nn.Sequential(nn.ReLU(), nn.Linear(64, 32)),
        lambda: nn.Sequential(nn.Flatten(2), nn.Linear(64, 32)),
        lambda: nn.Sequential(nn.Linear(64, 32).requires_grad_(requires_grad=False)),
        lambda: nn.Sequential(nn.Flatten()),
        OTHERS["float64"],
        OTHERS["subclass"],
        OTHERS["hook"],
        hooked_around,
    ],
    ids=["no bias", "two", "other", "frozen", "none", "float64", "subclass", "hook", "around"],
)
def test_what_is_more_or_less_than_a_linear_layer_is_none(
    make: Callable[[], nn.Sequential],
) -> None:
    assert lone_linear(make()) is None


@pytest.mark.parametrize("begin", [[], [nn.Flatten()]], ids=["alone", "flattened"])
def test_one_linear_layer_is_found(begin: list[nn.Module]) -> None:
    linear = nn.Linear(64, 32)
    assert lone_linear(nn.Sequential(nn.Sequential(*begin, linear))) is linear
