"""Whole lines on streams, in one process: the same bits as on arrays, and what only streams do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.wire.messages import EpochLoss, Evaluated
from dni_async.workers.in_memory import InMemoryLine
from tests.data.streams.kinds import Augmented, Endless
from tests.workers.lines import NUM_BATCHES, assert_it_trained, trained

pytestmark = pytest.mark.usefixtures("as_in_a_worker")
HERE = __name__


class Digits:
    """The batches of a run on the digits, as a stream: pass n are those of epoch n + 1."""

    def __init__(self) -> None:
        self.inputs = Inputs.from_config(RunConfig(batch_size=100))
        self.epoch = 0

    def set_epoch(self, number: int) -> None:
        """Pass number begins."""
        self.epoch = number + 1

    def __len__(self) -> int:
        return NUM_BATCHES

    def __iter__(self) -> Iterator[Any]:
        return (self.inputs.train_batch(self.epoch, index) for index in range(NUM_BATCHES))


def streamed_digits() -> Any:
    """The digits, of which the test part is a list."""
    digits = Digits()
    count = digits.inputs.num_test_batches
    return digits, [digits.inputs.test_batch(index) for index in range(count)]


def network() -> nn.Sequential:
    """An MLP with dropout, for the digits."""
    return nn.Sequential(
        *(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 16), nn.ReLU()),
        nn.Linear(16, 10),
    )


def trained_on(data: str, model: str = "network", **settings: Any) -> InMemoryLine:
    """A line that has run to its end on what a function here gives."""
    return trained(data=f"{HERE}:{data}", model=f"{HERE}:{model}", layers=3, **settings)


@pytest.mark.parametrize(
    "settings",
    [{"rule": "backprop"}, {"window": 1, "targets": "bootstrap"}, {"rule": "fdg", "window": 1}],
)
def test_a_stream_trains_what_the_same_arrays_train_bit_for_bit(settings: dict[str, Any]) -> None:
    stream = trained_on("streamed_digits", **settings)
    arrays = trained(model=f"{HERE}:network", layers=3, **settings)
    weights = arrays.state_dict()
    for name, weight in stream.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert stream.losses == arrays.losses
    assert stream.accuracies == arrays.accuracies
    assert_it_trained(stream)


def uneven() -> Any:
    """Batches of 5, 5 and 2 samples, augmented, and nothing to test on."""
    return DataLoader(Augmented(), batch_size=5, shuffle=True, num_workers=1)


def endless() -> Any:
    """A stream without end."""
    return Endless(), [(torch.ones(3, 2), torch.zeros(3))]


def small() -> nn.Sequential:
    """Three layers for samples of four numbers."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def smaller() -> nn.Sequential:
    """The same for samples of two."""
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def told(line: InMemoryLine, kind: type) -> list[int]:
    """The samples that the head counted, epoch for epoch."""
    return [message.num_samples for _, message in line.told if isinstance(message, kind)]


@pytest.mark.parametrize("draw", [None, random.Random(2)])
def test_real_samples_are_counted_and_tests_may_be_missing(draw: random.Random | None) -> None:
    line = trained_on("uneven", "small", rule="dni", draw=draw)
    assert told(line, EpochLoss) == [12, 12]
    assert told(line, Evaluated) == [0, 0]
    assert [each.stage.version for each in line.equipments] == [6, 6, 6]


def test_an_epoch_of_an_endless_stream_is_so_many_updates() -> None:
    line = trained_on("endless", "smaller", updates_per_epoch=4, batch_size=3)
    assert told(line, EpochLoss) == [12, 12]
    assert told(line, Evaluated) == [3, 3]


def test_arrays_too_may_be_cut_into_epochs() -> None:
    """Of 4 updates: three and three quarters of them are a pass."""
    line = trained(updates_per_epoch=4, epochs=5)
    assert [each.stage.version for each in line.equipments] == [20] * 4
    samples = [100] * 14 + [37] + [100] * 5
    assert told(line, EpochLoss) == [sum(samples[at : at + 4]) for at in range(0, 20, 4)]
