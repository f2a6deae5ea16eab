"""Which boundaries get a copy of what lies above, by the shape there and by what that is."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.network.building import build_network
from dni_async.network.way_choice import copier
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.losses.interface import Loss
from tests.network.test_above import IMAGES, PIECES, POSITIONS

LABELS = run_loss(RunConfig(), TargetForm(10), (10,))
OF_POSITIONS = run_loss(RunConfig(), TargetForm(9, (7,)), (7, 9))
OF_PIECES = run_loss(RunConfig(), TargetForm(3), (3,))
WORDS = run_loss(RunConfig(), TargetForm(5000, (7,)), (7, 5000))
MAPS = run_loss(RunConfig(loss="mse"), TargetForm(0, (2, 6, 6), "float32"))
COPY = {"synthesizer": "copy"}


def chosen(network: nn.Sequential, first: int, shape: tuple[int, ...], loss: Loss, **s: Any) -> int:
    """How many modules with weights a copy has; 0: there is none."""
    places = (7,) if loss in (OF_POSITIONS, WORDS) else ()
    made = copier(RunConfig(**s), loss, network, first, (*places, *loss.output_shape))(shape)
    if made is None:
        return 0
    return len([m for m in made[0].modules() if [*m.parameters(recurse=False)]])


WIDE = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 99), nn.Linear(99, 10))
POOLED = nn.Sequential(
    nn.Conv2d(3, 4, 3),
    nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.MaxPool2d(2)),
    nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.MaxPool2d(4)),
    nn.Sequential(nn.Flatten(), nn.Linear(8, 10)),
)
FLAT = nn.Sequential(
    nn.Conv2d(3, 4, 3),
    nn.Conv2d(4, 4, 3, padding=1),
    nn.Sequential(nn.Flatten(), nn.Linear(144, 10)),
)
PLACED = nn.Sequential(
    nn.Conv2d(3, 4, 3),
    nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.MaxPool2d(2)),
    nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.MaxPool2d(2)),
    nn.Sequential(nn.Flatten(), nn.Linear(96, 10)),
)
DENSE = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 10))
SEGMENTING = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1))
SPEAKING = nn.Sequential(nn.Embedding(5000, 8), nn.Linear(8, 5000))


@pytest.mark.parametrize(
    ("network", "first", "shape", "loss", "settings", "num_modules"),
    [
        (IMAGES, 5, (16, 8, 8), LABELS, {}, 1),  # the readout takes it
        (IMAGES, 4, (8, 16, 16), LABELS, {}, 2),  # behind the layer that widens, on few places
        (IMAGES, 4, (8, 16, 16), LABELS, {"synthesizer_pool": 0}, 0),  # on all of them it is dear
        (IMAGES, 4, (8, 16, 16), LABELS, {"synthesizer_pool": 16}, 2),  # half of them, then
        (POOLED, 1, (4, 8, 8), LABELS, {}, 2),  # which only one region goes through cheaply
        (POOLED, 2, (8, 4, 4), LABELS, {}, 2),  # on so few places a copy of a layer may be had
        (POOLED, 2, (8, 4, 4), LABELS, {"synthesizer_pool": 2}, 1),
        (POOLED, 3, (8, 1, 1), LABELS, {}, 1),  # a map of one place is one of the readout's
        (IMAGES, 6, (16,), LABELS, {}, 1),  # all of the head, for what a critic costs
        (DENSE, 2, (5,), LABELS, {}, 0),  # a row of numbers further below: the critic is as much
        (POSITIONS, 1, (7, 8), OF_POSITIONS, {}, 2),  # norm and logits
        (PIECES, 1, (7, 8), OF_PIECES, {}, 2),
        (FLAT, 2, (4, 6, 6), LABELS, {}, 1),  # as much as a critic of all places, and the head
        (FLAT, 1, (4, 6, 6), LABELS, {}, 0),  # the readout is a critic of all places
        (FLAT, 1, (4, 12, 12), LABELS, {"synthesizer_pool": 6}, 0),  # or of all regions
        (PLACED, 1, (4, 16, 16), LABELS, {}, 3),  # without what brings it to fewer places
        (PLACED, 2, (8, 8, 8), LABELS, {}, 2),
        (PLACED, 2, (8, 8, 8), LABELS, {"synthesizer_pool": 2}, 0),  # the readout takes 4 x 4
        (PLACED, 1, (4, 16, 16), LABELS, COPY | {"synthesizer_layers": 1}, 3),  # all of it
        (WIDE, 1, (4, 1, 1), LABELS, {}, 0),  # all that is left, but dearer than a critic
        (SPEAKING, 1, (7, 8), WORDS, {}, 0),  # too many outputs
        (SEGMENTING, 1, (4, 6, 6), MAPS, {}, 0),  # the critic of maps is one for all places
        (IMAGES, 5, (16, 8, 8), LABELS, {"synthesizer_layers": 0}, 0),  # as asked for
        (IMAGES, 5, (16, 8, 8), LABELS, {"synthesizer": "linear"}, 0),
        (IMAGES, 4, (8, 16, 16), LABELS, COPY, 2),
        (IMAGES, 3, (8, 16, 16), LABELS, COPY | {"synthesizer_layers": 1}, 3),
        (IMAGES, 6, (16,), LABELS, COPY, 1),
        (SPEAKING, 1, (7, 8), WORDS, COPY, 1),
        (SEGMENTING, 1, (4, 6, 6), MAPS, COPY, 1),
    ],
)
def test_the_choice(
    network: nn.Sequential,
    first: int,
    shape: tuple[int, ...],
    loss: Loss,
    settings: dict[str, Any],
    num_modules: int,
) -> None:
    assert chosen(network, first, shape, loss, **settings) == num_modules


def test_a_copy_of_the_head_is_of_all_that_lies_above_and_one_on_regions_is_not() -> None:
    def is_whole(first: int, shape: tuple[int, ...], **settings: Any) -> bool:
        made = copier(RunConfig(**settings), LABELS, PLACED, first, (10,))(shape)
        assert made is not None
        return made[1]

    assert is_whole(3, (6, 4, 4))
    assert not is_whole(2, (8, 8, 8))
    assert is_whole(2, (8, 8, 8), **COPY, synthesizer_pool=0)


def test_the_networks_of_ours_keep_the_critic_but_below_the_head() -> None:
    network = build_network(RunConfig(layers=3, width=256, norm="batch"), (64,), 10)
    assert [chosen(network, first, (256,), LABELS) for first in (1, 2)] == [0, 1]
    images = build_network(RunConfig(model="cnn", layers=3, width=16), (28, 28), 10)
    shapes = [(16, 14, 14), (16, 7, 7)]
    found = [chosen(images, first, shape, LABELS) for first, shape in enumerate(shapes, 1)]
    assert found == [0, 1]


def test_what_cannot_be_copied_is_not() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 10))
    network[1].lock = (each for each in ())  # type: ignore[assignment]
    assert chosen(network, 1, (4,), LABELS, synthesizer="copy") == 0
