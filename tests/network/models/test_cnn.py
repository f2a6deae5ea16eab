"""The CNN: the paper's layers, whatever way the images come, and what is no image."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from dni_async import ConfigError
from dni_async.network.models import cnn
from dni_async.network.models.cnn import image_shape


def test_the_layers_are_the_papers() -> None:
    network = cnn((3, 32, 32), 128, 4, 10, norm="batch")
    kinds = [[type(child) for child in block.children()] for block in network]
    first = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert kinds[:3] == [[*first, nn.MaxPool2d], *[[*first, nn.AvgPool2d]] * 2]
    assert kinds[3] == [nn.Flatten, nn.Linear]
    x, sizes = torch.zeros(2, 3, 32, 32), []
    for block in network:
        x = block(x)
        sizes.append(list(x.shape))
    assert sizes == [[2, 128, 16, 16], [2, 128, 8, 8], [2, 128, 4, 4], [2, 10]]


def test_a_layer_is_what_it_says() -> None:
    """Five by five with zeros around, then every second place's maximum, then its mean."""
    network = cnn((1, 5, 4), 2, 3, 3)
    x = torch.randn(2, 1, 5, 4)
    first, second, head = ([p.detach() for p in block.parameters()] for block in network)
    convolved = functional.conv2d(functional.pad(x, (2, 2, 2, 2)), *first).relu()
    padded = functional.pad(convolved, (1, 1, 1, 1), value=-1.0)
    hidden = torch.stack(
        [
            torch.stack(
                [padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax((2, 3)) for j in range(2)],
                2,
            )
            for i in range(3)
        ],
        2,
    )
    torch.testing.assert_close(network[0](x), hidden)
    convolved = functional.conv2d(functional.pad(hidden, (2, 2, 2, 2)), *second).relu()
    places = [convolved[:, :, i, :2].mean((2, 3)) for i in (slice(0, 2), slice(1, 3))]
    hidden = torch.stack(places, 2).unsqueeze(3)
    torch.testing.assert_close(network(x), functional.linear(hidden.flatten(1), *head))


@pytest.mark.parametrize("shape", [(12 * 12,), (12, 12), (1, 12, 12)])
def test_images_come_flat_or_not(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = cnn(shape, 4, 3, 5)
    torch.manual_seed(0)
    same = cnn((1, 12, 12), 4, 3, 5)
    x = torch.randn(2, 1, 12, 12)
    assert torch.equal(network(x.reshape(2, *shape)), same(x))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((784,), (1, 28, 28)),
        ((3072,), (3, 32, 32)),
        ((1,), (1, 1, 1)),
        ((3,), (3, 1, 1)),
        ((28, 20), (1, 28, 20)),
        ((3, 32, 30), (3, 32, 30)),
        ((5, 4, 4), (5, 4, 4)),
        ((3, 4, 3), (3, 4, 3)),
    ],
)
def test_which_samples_are_images(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert image_shape(shape) == expected


@pytest.mark.parametrize("shape", [(5,), (2 * 49,), (2, 3, 4, 5), (2,)])
def test_which_are_not(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"a sample is {list(shape)}")) as caught:
        cnn(shape, 4, 2, 5)
    assert str(caught.value).startswith("model: cnn needs images")


def test_channels_last_is_said() -> None:
    with pytest.raises(ConfigError, match=re.escape("a sample is [32, 32, 3]: channels last")):
        image_shape((32, 32, 3))
