"""The residual network: blocks that add."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dni_async.network.models import residual
from dni_async.network.models.residual import ResidualBlock


def test_a_block_adds_to_what_passes() -> None:
    block = ResidualBlock(4, "none")
    x = torch.randn(3, 4)
    w, b, v, c = block.parameters()
    inner = functional.linear(functional.linear(x.relu(), w, b).relu(), v, c)
    torch.testing.assert_close(block(x), x + inner)


def test_layers_are_a_linear_one_blocks_and_a_head() -> None:
    network = residual((6,), 4, 5, 3, norm="batch")
    assert [type(child) for child in network] == [
        nn.Sequential, *[ResidualBlock] * 3, nn.Sequential
    ]  # fmt: skip
    assert [type(part) for part in network[4]] == [nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert network(torch.zeros(2, 6)).shape == (2, 3)


def test_the_input_reaches_the_head_past_all_blocks() -> None:
    """With branches that give nothing, the blocks are not there."""
    network = residual((6,), 4, 5, 3)
    x = torch.randn(2, 6)
    for block in network[1:4]:
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
    assert torch.equal(network(x), network[4](network[0](x)))


def test_one_layer_is_linear() -> None:
    assert [tuple(p.shape) for p in residual((2, 3), 4, 1, 5).parameters()] == [(5, 6), (5,)]
