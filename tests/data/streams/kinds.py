"""Small data of a user's own, in every form that is a stream."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from dni_async.config.target_form import CLASSES
from dni_async.data.streams.fitting import TargetFit
from dni_async.data.streams.making import make_stream
from dni_async.data.streams.reading import Fetches
from dni_async.data.streams.stream_feed import StreamFeed

__all__ = ["Augmented", "Endless", "PassedOver", "batches", "feed_of", "opened", "read"]


opened: list[StreamFeed] = []


class Augmented(Dataset[Any]):
    """Sample i begins with i; behind it are draws of all three generators."""

    def __init__(self, count: int = 12) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        drawn = [float(torch.rand(())), random.random(), np.random.rand()]
        return torch.tensor([float(index), *drawn]), index % 3


class Endless(IterableDataset[Any]):
    """Samples without end, or so many of them, of which the first begins with first."""

    def __init__(self, count: int | None = None, first: int = 0) -> None:
        self.count, self.first = count, first

    def __iter__(self) -> Iterator[Any]:
        number = self.first
        while self.count is None or number < self.first + self.count:
            yield torch.tensor([float(number), random.random()]), number % 3
            number += 1


class PassedOver:
    """Batches that a class of the user's gives anew at each pass."""

    def __init__(self, count: int, change: Callable[[int], Any] | None = None) -> None:
        self.count, self.change = count, change

    def __iter__(self) -> Iterator[Any]:
        for index in range(self.count):
            changed = None if self.change is None else self.change(index)
            yield batches(index + 1)[index] if changed is None else changed


def batches(count: int, size: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """So many, in memory: inputs [size, 2] that begin with the number of the batch, and labels."""
    return [
        (torch.tensor([[float(number), 1.0]] * size), torch.arange(size) % 3)
        for number in range(count)
    ]


def feed_of(
    train: Any,
    test: Any = None,
    *,
    updates: int | None = None,
    fetches: Fetches = "here",
    size: int = 4,
    keeps_states: bool = False,
) -> StreamFeed:
    """A feed of class labels; conftest closes it."""
    opened.append(
        StreamFeed(
            "mine",
            make_stream("training", train, size, shuffles=True, keeps_states=keeps_states),
            None if test is None else make_stream("test", test, size, shuffles=False),
            updates_per_epoch=updates,
            seed=3,
            fetches=fetches,
            fit=TargetFit(CLASSES, None),
        )
    )
    return opened[-1]


def read(feed: StreamFeed, *places: tuple[int, int]) -> list[list[list[float]]]:
    """The inputs of the training batches at these epochs and indices."""
    return [feed.train_batch(*place)[0].tolist() for place in places]
