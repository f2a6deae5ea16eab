"""Where a module is split that nobody has said anything about."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dni_async.network.split.choosing import choose_points
from dni_async.network.split.recording.failures import Unsplittable
from tests.network.split.networks import CASES, Causal
from tests.network.split.sameness import assert_same, split

EXPECTED = {
    "resnet": ["layer1", "layer1.1", "layer2", "layer2.1"],
    "unet": ["down2", "middle", "up2", "up1"],
    "residual": ["blocks.0", "blocks.1", "blocks.2", "blocks.3", "last"],
    "tagger": ["out"],
    "dense": ["fc1", "fc2", "fc3", "out"],
    "adapted": ["blocks.0", "blocks.1", "blocks.2", "head"],
    "vit": ["blocks", "blocks.1", "blocks.2"],
    "causal": ["blocks.1", "blocks.2", "readout"],
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_are_parts_and_nothing_small_is_one(name: str) -> None:
    kind, samples, _, _ = CASES[name]
    module = kind()
    assert choose_points(copy.deepcopy(module), [samples()]) == EXPECTED[name]


def test_what_is_tied_stays_together_or_is_refused() -> None:
    module, ids = Causal(), torch.randint(0, 20, (3, 8))
    module.blocks[1].linear1.weight = module.blocks[2].linear1.weight
    assert choose_points(copy.deepcopy(module), [ids]) == ["blocks.1", "readout"]
    module.readout.weight = module.embedding.weight
    with pytest.raises(Unsplittable, match="no place to split it is left: embedding"):
        choose_points(copy.deepcopy(module), [ids])


def test_where_a_block_cannot_be_looked_into_it_stays_whole() -> None:
    class Gate(nn.Module):
        """A block that decides by its data."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x) if x.mean() < 10 else x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(Gate() for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return x

    module = Net()
    points = choose_points(copy.deepcopy(module), [torch.randn(3, 4)])
    assert points == ["blocks.1", "blocks.2"]


def test_positions_and_numbers_that_every_block_takes_are_no_branch() -> None:
    class Patches(nn.Module):
        """Gives places and how many there are, beside the activation."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(1, 4, 2, stride=2)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
            x = self.inner(x)
            return x.flatten(2).transpose(1, 2), torch.arange(x[0, 0].numel()), x.shape[-1]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor, places: torch.Tensor, width: int) -> torch.Tensor:
            return x + self.inner(x) * (places % width)[:, None]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = Patches()
            self.blocks = nn.ModuleList(Block() for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x, places, width = self.patches(x)
            for block in self.blocks:
                x = block(x, places, width)
            return x.mean(1)

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    module, x = Wrapped(), torch.randn(3, 1, 8, 8)
    points = choose_points(copy.deepcopy(module), [x])
    assert points == ["net.blocks.0", "net.blocks.1", "net.blocks.2"]
    chain = split(module, x, points)
    assert_same(module, chain, [x, x[:2]])
    with pytest.raises(ValueError, match="was split for inputs of shape"):
        chain(torch.randn(3, 1, 8, 4))
