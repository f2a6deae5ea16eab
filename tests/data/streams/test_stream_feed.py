"""Streams as a feed: each pass the same in every process, from any place on, nothing kept."""

from __future__ import annotations

import itertools
import random
import re
import select
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from dni_async.data.streams.reading import Fetches
from dni_async.errors import DataError
from dni_async.files.scratch import SCRATCH, remove_scratch
from tests.data.streams.kinds import Augmented, Endless, PassedOver, batches, feed_of, read


@pytest.fixture(scope="module", autouse=True)
def _scratch() -> Iterator[None]:
    """As in a run: what processes of a loader leave when they are killed goes with a folder."""
    folder = tempfile.mkdtemp()  # a short path, for their sockets
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SCRATCH, folder)
        yield
    remove_scratch(folder)


def generated() -> Iterator[Any]:
    """Five batches, drawn at random."""
    for number in range(5):
        yield torch.rand(4, 2) + number, np.arange(4) % 3


KINDS: dict[str, Any] = {
    "loader": lambda: DataLoader(Augmented(), batch_size=4, shuffle=True, num_workers=2),
    "loader without processes": lambda: DataLoader(Augmented(), batch_size=4, shuffle=True),
    "loader with a sampler": lambda: DataLoader(
        Augmented(), batch_size=4, sampler=WeightedRandomSampler([1.0] * 12, 12)
    ),
    "loader with a generator": lambda: DataLoader(
        Augmented(), batch_size=4, shuffle=True, generator=torch.Generator()
    ),
    "map-style": Augmented,
    "iterable": lambda: Endless(12),
    "class": lambda: PassedOver(3),
    "function": lambda: generated,
    "list": lambda: batches(3),
    "arrays": lambda: (np.random.default_rng(0).normal(size=(12, 2)), np.arange(12) % 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_depends_on_the_seed_and_its_number_alone(kind: str) -> None:
    """Whatever was drawn before, in whatever order places are asked for, and fetched ahead."""
    places = list(itertools.product((1, 2, 3), (0, 1, 2)))
    states = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)["state"]
    plain = feed_of(KINDS[kind](), updates=3, fetches="in turn")
    expected = read(plain, *places)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], states[2]["key"])
    torch.rand(3), random.random(), np.random.rand()
    ahead = feed_of(KINDS[kind](), updates=3, fetches="ahead")
    assert read(ahead, (2, 1), (3, 0), (1, 1)) == [expected[4], expected[6], expected[1]]


def test_an_epoch_is_a_pass_and_passes_differ_where_they_draw() -> None:
    feed = feed_of(DataLoader(Augmented(), batch_size=5, shuffle=True))
    assert feed.num_batches == (3, 0)
    epochs = [read(feed, (epoch, 0), (epoch, 1), (epoch, 2)) for epoch in (1, 2)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [5, 5, 2]
        assert sorted(row[0] for batch in epoch for row in batch) == list(range(12))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("fetches", ["here", "in turn", "ahead"])
def test_with_updates_per_epoch_the_stream_flows_on(fetches: Fetches) -> None:
    """Over epochs, and into the next pass where it ends."""
    feed = feed_of(Endless(10), updates=2, fetches=fetches)
    firsts = [read(feed, (epoch, index))[0][0][0] for epoch in (1, 2, 3, 4) for index in (0, 1)]
    assert firsts == [0, 4, 8, 0, 4, 8, 0, 4]


def test_tests_are_the_same_each_time() -> None:
    feed = feed_of(batches(2), DataLoader(Augmented(), batch_size=8), fetches="in turn")
    assert feed.num_batches == (2, 2)
    tests = [[feed.test_batch(index)[0].tolist() for index in (0, 1)] for _ in (1, 2)]
    assert tests[0] == tests[1]
    assert [row[0] for batch in tests[0] for row in batch] == list(range(12))


def test_what_comes_ahead_wakes_whoever_waits() -> None:
    feed = feed_of(Endless(), updates=3, fetches="ahead")
    assert feed.wake is not None
    while not feed.is_ready(1, 0, is_test=False):
        assert select.select([feed.wake], [], [], 30)[0]
        feed.calm()
    assert read(feed, (1, 0), (1, 1), (1, 2))[2][0][0] == 8


def test_batches_may_be_of_any_size_and_length() -> None:
    given = [(torch.ones(size, length), torch.zeros(size, dtype=torch.int32)) for size, length in
             ((3, 4), (1, 7), (5, 2))]  # fmt: skip
    feed = feed_of(given)
    assert [tuple(feed.train_batch(1, index)[0].shape) for index in range(3)] == [
        (3, 4),
        (1, 7),
        (5, 2),
    ]
    facts = feed.facts
    assert (facts.input_shape, facts.batch_size, facts.num_test) == ((4,), 3, 0)
    assert facts.is_stream
    assert facts.lacks_classes


def at(index: int, batch: Any) -> Any:
    """Puts batch in the place of the one with that index."""
    return lambda number: batch if number == index else None


X, Y = batches(1)[0]
BAD = X.clone()
BAD[2, 1] = float("nan")


def fails(index: int) -> Any:
    """Raises in the middle."""
    if index == 1:
        raise ValueError("no such file")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (PassedOver(0), "the training part gave no batch"),
        (
            PassedOver(3, at(1, X)),
            "batch 1 of the training part is a Tensor, not",
        ),
        (PassedOver(3, at(1, (X, Y, Y))), "is 3 x Tensor, Tensor, Tensor, not (inputs, targets)"),
        (PassedOver(3, at(1, {"x": X, "y": Y})), "is a dict of x, y, not (inputs, targets)"),
        (PassedOver(3, at(1, (BAD, Y))), "part has inputs that are not finite in sample 2"),
        (PassedOver(3, at(1, (X.long(), Y))), "has inputs torch.int64 of 2 dimensions and targets"),
        (PassedOver(3, at(1, (X[None], Y[None]))), "of 3 dimensions and targets torch.int64 of 2"),
        (PassedOver(3, at(1, (-X.long(), Y))), "holds -1, but int64 inputs are ids, which start"),
        (PassedOver(3, at(1, (X[:2], Y))), "has 2 inputs, but targets of 4"),
        (PassedOver(3, at(1, ((X, X), Y))), "has 2 inputs; several are not built yet"),
        (PassedOver(3, at(1, (X[:0], Y[:0]))), "has inputs of shape [0, 2]"),
        (PassedOver(3, at(1, (X, Y - 1))), "holds label -1; labels start at 0"),
        (
            PassedOver(3, at(1, (X, Y / 2))),
            "are no class labels; give integers, or name loss=",
        ),
        (PassedOver(3, at(1, (["a"], Y))), "has inputs that are no tensor"),
        (PassedOver(3, fails), "batch 1 of the training part could not be made:\nTraceback"),
        (
            DataLoader([(X[0], 0), (X[0, :1], 1)], batch_size=2),
            "batch 0 of the training part",
        ),
    ],
)
def test_a_bad_batch_is_one_sentence(train: Any, said: str) -> None:
    feed = feed_of(train, updates=3)
    with pytest.raises(DataError, match=re.escape(said)):
        read(feed, (1, 0), (1, 1))


def test_what_a_users_code_raises_stands_last_and_once() -> None:
    for train, fetches in WITH_FAULTS:
        feed = feed_of(train, updates=3, fetches=fetches)
        with pytest.raises(DataError) as caught:
            read(feed, (1, 0), (1, 1))
        text = str(caught.value)
        assert text.endswith("ValueError: no such file")
        assert text.count("ValueError: no such file") == 1
        assert caught.value.__suppress_context__


class FailsAt(Augmented):
    """Raises in a process of a loader."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        fails(index)
        return super().__getitem__(index)


WITH_FAULTS: list[tuple[Any, Fetches]] = [
    (PassedOver(3, fails), "here"),
    (PassedOver(3, fails), "ahead"),
    (DataLoader(FailsAt(), num_workers=2), "in turn"),
]


class Promises(PassedOver):
    """Says that it has more batches than it gives."""

    def __len__(self) -> int:
        return 5


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (Endless(), None, "updates_per_epoch: the training part does not say its length; say how"),
        (batches(2), Endless(), "the test part does not say its length; give it a __len__"),
        (DataLoader([]), None, "the training part has no batches"),
        (3, None, "the training part is a int; give a pair of arrays, a data set, a loader"),
        (([[1.0], [2.0]], [0]), None, "has inputs [2, 1] and targets [1]"),
    ],
)
def test_what_is_no_stream_is_refused(train: Any, test: Any, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        feed_of(train, test)


def test_one_that_ends_early_is_told() -> None:
    feed = feed_of(Promises(3))
    assert feed.num_batches == (5, 0)
    with pytest.raises(DataError, match="ended after 3 batches, but its length is 5; mend its"):
        read(feed, *((1, index) for index in range(5)))


def test_tensors_beside_a_stream_are_shuffled_in_training_alone() -> None:
    whole = TensorDataset(torch.arange(24.0).reshape(12, 2), torch.arange(12) % 3)
    feed = feed_of(whole, whole, fetches="in turn")
    rows = [row for batch in read(feed, (1, 0), (1, 1), (1, 2)) for row in batch]
    assert sorted(rows) == whole.tensors[0].tolist() != rows
    tested = torch.cat([feed.test_batch(index)[0] for index in range(3)])
    assert torch.equal(tested, whole.tensors[0])
