"""Convolutions channels last give what they give row by row; the baseline's bits across a cut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dni_async.stage.graphs.memory import channels_last, has_maps, laid_out_as, lay_out
from dni_async.stage.layers import StageLayers
from dni_async.stage.values import Values, gathered, tensors_of


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 4),
    )  # fmt: skip


def stage(layers: nn.Sequential, *, is_last: bool, has_below: bool = False) -> StageLayers:
    if is_last:
        lay_out(layers)
    return StageLayers(layers, has_below=has_below, puts_channels_last=is_last)


def test_maps_alone_are_put_channels_last() -> None:
    maps, rows, ids = torch.ones(2, 3, 4, 4), torch.ones(2, 3), torch.ones(2, 3, 4, 4).long()
    hidden = channels_last(gathered((maps, {"rows": rows, "ids": ids})))
    assert isinstance(hidden, Values)
    found = tensors_of(hidden)
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    assert not found[0].is_contiguous()
    assert (found[1] is rows, found[2] is ids) == (True, True)
    assert channels_last(found[0]) is found[0]


def test_a_gradient_lies_as_what_it_is_of() -> None:
    rows, gradient = torch.ones(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert laid_out_as(gradient, rows) is gradient
    moved = laid_out_as(gradient, rows.contiguous(memory_format=torch.channels_last))
    assert isinstance(moved, torch.Tensor)
    assert moved.stride() == (48, 1, 12, 3)
    assert torch.equal(moved, gradient)
    turned = rows.transpose(2, 3)  # of attention, say
    assert laid_out_as(gradient, turned[:, :, :2]) is gradient


@pytest.mark.parametrize(
    ("layers", "has"),
    [
        (network(), True),
        (nn.Sequential(nn.Sequential(nn.ConvTranspose2d(1, 1, 2))), True),
        (nn.Sequential(nn.Linear(2, 2), nn.Conv1d(1, 1, 2)), False),
    ],
    ids=["convolutions", "inside", "lines"],
)
def test_networks_with_maps_are_known(layers: nn.Module, has: bool) -> None:
    assert has_maps(layers) is has


def test_the_numbers_are_those_of_rows() -> None:
    x, gradient = torch.randn(5, 3, 6, 6), torch.randn(5, 4)
    found = []
    for is_last in (False, True):
        layers = stage(network(), is_last=is_last)
        kept = layers.forward(0, x.clone(), needs_input_gradient=True)
        returned = layers.pull_back(kept, gradient)
        assert isinstance(returned, torch.Tensor)
        found.append([kept.activation, returned, *(p.grad for p in layers.layers.parameters())])
        found[-1].append(layers.evaluate(x.clone()))
    for row, last in zip(*found, strict=True):
        torch.testing.assert_close(last, row, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_cut_changes_no_bit(cut: int) -> None:
    """Also where what crosses it comes row by row, as from another process."""
    x, gradient = torch.randn(5, 3, 6, 6), torch.randn(5, 4)
    whole = stage(network(), is_last=True)
    kept = whole.forward(0, x.clone(), needs_input_gradient=False)
    whole.pull_back(kept, gradient)
    parts = network()
    below = stage(parts[:cut], is_last=True)
    above = stage(parts[cut:], is_last=True, has_below=True)
    first = below.forward(0, x.clone(), needs_input_gradient=False)
    assert isinstance(first.activation, torch.Tensor)
    second = above.forward(0, first.activation.contiguous(), needs_input_gradient=True)
    returned = above.pull_back(second, gradient)
    assert isinstance(returned, torch.Tensor)
    below.pull_back(first, returned.contiguous())
    for name, parameter in whole.layers.named_parameters():
        other = dict(parts.named_parameters())[name]
        assert other.grad is not None
        assert torch.equal(other.grad, parameter.grad), name  # type: ignore[arg-type]
