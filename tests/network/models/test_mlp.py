"""The MLP: the asked sizes, and samples of any shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dni_async.network.models import mlp


@pytest.mark.parametrize(
    ("norm", "children"),
    [
        ("none", [nn.Linear, nn.ReLU]),
        ("batch", [nn.Linear, nn.BatchNorm1d, nn.ReLU]),
        ("layer", [nn.Linear, nn.LayerNorm, nn.ReLU]),
    ],
)
def test_the_mlp_has_the_asked_sizes(norm: str, children: list[type]) -> None:
    network = mlp((20,), 8, 3, 5, norm=norm)
    linears = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == [(20, 8), (8, 8), (8, 5)]
    blocks = [[type(child) for child in block.children()] for block in network]
    assert blocks == [children, children, [nn.Linear]]


def test_one_layer_maps_inputs_to_classes() -> None:
    assert [tuple(p.shape) for p in mlp((20,), 8, 1, 5).parameters()] == [(5, 20), (5,)]


def test_samples_that_are_not_flat_are_flattened() -> None:
    flat, images = mlp((20,), 8, 2, 5), mlp((4, 5), 8, 2, 5)
    for mine, its in zip(images.parameters(), flat.parameters(), strict=True):
        mine.data = its.data
    x = torch.randn(3, 4, 5)
    assert torch.equal(images(x), flat(x.flatten(1)))
