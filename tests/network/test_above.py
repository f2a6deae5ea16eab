"""The cheapest way through the layers above a boundary."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dni_async.errors import ConfigError
from dni_async.network.above import Above


def conv(given: int, made: int, stride: int = 1) -> nn.Module:
    """A child that is a layer by itself."""
    return nn.Sequential(nn.Conv2d(given, made, 3, stride, 1), nn.ReLU())


class FirstPosition(nn.Module):
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden[:, 0]


class Twice(nn.Module):
    """Gives two tensors, or takes them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, given: Any) -> Any:
        return (given, self.dense(given)) if isinstance(given, torch.Tensor) else sum(given)


IMAGES = nn.Sequential(
    conv(3, 4),
    conv(4, 4),
    conv(4, 8, stride=2),
    conv(8, 8),
    conv(8, 16, stride=2),
    conv(16, 16),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(16, 10),
)
BLOCK = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
POSITIONS = nn.Sequential(nn.Embedding(9, 8), BLOCK, BLOCK, nn.LayerNorm(8), nn.Linear(8, 9))
PIECES = nn.Sequential(nn.Embedding(9, 8), BLOCK, nn.LayerNorm(8), FirstPosition(), nn.Linear(8, 3))
DENSE = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2))


OUTPUTS = {IMAGES: (10,), POSITIONS: (3, 9), PIECES: (3,), DENSE: (2,)}


def above(network: nn.Sequential, first: int) -> Above:
    return Above(network, first, OUTPUTS[network], num_places=int(network is POSITIONS))


@pytest.mark.parametrize(
    ("network", "first", "shape", "num_layers", "children", "is_readout"),
    [
        (IMAGES, 6, (16,), 0, [9], True),  # all that is above
        (IMAGES, 5, (16, 8, 8), 0, [6, 7, 8, 9], True),
        (IMAGES, 3, (8, 16, 16), 0, [4, 6, 7, 8, 9], False),  # what keeps the shape is left out
        (IMAGES, 1, (4, 32, 32), 0, [2, 4, 6, 7, 8, 9], False),
        (IMAGES, 1, (4, 32, 32), 1, [1, 2, 4, 6, 7, 8, 9], False),
        (IMAGES, 4, (8, 16, 16), 1, [4, 6, 7, 8, 9], False),
        (IMAGES, 5, (16, 8, 8), 1, [5, 6, 7, 8, 9], False),  # and its followers once
        (IMAGES, 5, (16, 8, 8), 7, [5, 6, 7, 8, 9], False),
        (POSITIONS, 1, (7, 8), 0, [3, 4], True),
        (POSITIONS, 1, (7, 8), 1, [1, 3, 4], False),
        (PIECES, 1, (7, 8), 0, [2, 3, 4], True),
        (DENSE, 1, (5,), 0, [3, 4], True),  # that the ReLU below it is there already nobody knows
        (DENSE, 2, (5,), 0, [4], True),
    ],
)
def test_the_way_is_found_by_what_passes(
    network: nn.Sequential,
    first: int,
    shape: tuple[int, ...],
    num_layers: int,
    children: list[int],
    is_readout: bool,
) -> None:
    way = above(network, first).way(shape, num_layers=num_layers)
    assert way is not None
    found = [list(network).index(child) for child in way.children]
    assert (found, way.is_readout) == (children, is_readout)


def test_products_are_those_of_one_sample() -> None:
    way = above(DENSE, 2).way((5,))
    assert way is not None
    assert way.products == 5 * 2
    images = above(IMAGES, 4).way((8, 16, 16))
    assert images is not None
    assert images.products == 8 * 8 * 9 * 8 * 16 + 16 * 10


@pytest.mark.parametrize(
    ("first", "shape", "num_layers", "regions", "children", "found"),
    [
        (3, (8, 16, 16), 0, 4, [4, 6, 7, 8, 9], 4),
        (3, (8, 16, 16), 1, 4, [3, 4, 6, 7, 8, 9], 4),
        (3, (8, 4, 4), 0, 4, [4, 6, 7, 8, 9], 0),  # no more places than that
        (5, (16, 8, 8), 0, 4, [6, 7, 8, 9], 0),  # of the readout they change nothing
        (6, (16,), 0, 4, [9], 0),
    ],
)
def test_layers_may_run_on_the_means_of_regions(
    first: int,
    shape: tuple[int, ...],
    num_layers: int,
    regions: int,
    children: list[int],
    found: int,
) -> None:
    above_it = above(IMAGES, first)
    way = above_it.way(shape, num_layers=num_layers, regions=regions)
    assert way is not None
    assert ([list(IMAGES).index(child) for child in way.children], way.regions) == (children, found)
    hidden = torch.randn(2, *shape)
    pooled = nn.functional.adaptive_avg_pool2d(hidden, found) if found else hidden
    expected = nn.Sequential(*way.children).eval()(pooled)
    assert torch.equal(way.copied().eval()(hidden), expected)
    if found:
        whole = above_it.way(shape, num_layers=num_layers)
        assert whole is not None
        assert (whole.products - 160) == (way.products - 160) * (shape[1] // found) ** 2


def test_on_regions_a_way_leaves_out_what_would_bring_it_to_fewer_places() -> None:
    """The readout takes 4 x 4 places and no others."""
    pool = nn.MaxPool2d(2)
    first, second = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
    readout = nn.Sequential(nn.Flatten(), nn.Linear(96, 10))
    network = nn.Sequential(
        conv(3, 4), nn.Sequential(first, nn.ReLU(), pool), nn.Sequential(second, pool), readout
    )
    above_it = Above(network, 1, (10,))
    way = above_it.way((4, 16, 16), regions=4)
    assert way is not None
    assert [type(child) for child in way.children] == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.Sequential]
    assert (way.regions, way.products) == (4, 16 * 9 * (4 * 8 + 8 * 6) + 960)
    hidden = torch.randn(2, 4, 16, 16)
    places = nn.functional.adaptive_avg_pool2d(hidden, 4)
    expected = readout(second(torch.relu(first(places))))
    torch.testing.assert_close(way.copied()(hidden), expected)
    whole = above_it.way((4, 16, 16))
    assert whole is not None
    assert whole.children[1] is network[2]


def test_outputs_of_all_places_are_not_read_out_of_regions() -> None:
    network = nn.Sequential(conv(3, 4), conv(4, 4), nn.Conv2d(4, 2, 1))
    way = Above(network, 1, (2, 8, 8)).way((4, 8, 8), num_layers=1, regions=4)
    assert way is not None
    assert (len(way.children), way.regions) == (2, 0)


def test_what_takes_several_values_is_no_way_but_for_all_of_it() -> None:
    network = nn.Sequential(nn.Linear(4, 4), Twice(4), Twice(4), nn.Linear(4, 2))
    assert Above(network, 2, (2,)).way((4, 4)) is None
    way = Above(network, 1, (2,)).way((4,), num_layers=1)
    assert way is not None
    assert len(way.children) == 3


def test_nothing_is_changed_by_looking() -> None:
    network = nn.Sequential(conv(3, 3), conv(3, 3), nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten())
    network.append(nn.Linear(3 * 16, 2))
    network[2].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes, generator = [m.training for m in network.modules()], torch.get_rng_state()
    way = Above(network, 1, (2,)).way((3, 4, 4))
    assert way is not None
    assert [m.training for m in network.modules()] == modes
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    copied, original = way.copied(), [p for child in way.children for p in child.parameters()]
    assert not {id(p) for p in copied.parameters()} & {id(p) for p in original}


def test_a_module_that_no_copy_is_the_same_as_is_refused() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    network[1].weight.register_hook(lambda grad: 2 * grad)  # type: ignore[union-attr]
    way = Above(network, 1, (2,)).way((4,))
    assert way is not None
    with pytest.raises(ConfigError, match="has a hook on its gradient"):
        way.copied()
