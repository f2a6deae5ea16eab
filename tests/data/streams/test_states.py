"""Loaders that say where they are: resumed there, and what they keep comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dni_async.data.streams.states import decoded, encoded
from dni_async.data.streams.stream_feed import StreamFeed
from tests.data.streams.kinds import Augmented, Endless, feed_of, read


def test_a_state_comes_back_as_it_was_by_way_of_json() -> None:
    state = {
        "worker": {0: [1, 2.5, None, True, "a"], (1, "b"): b"\0\xff"},
        "generator": torch.get_rng_state(),
        "seen": np.arange(6, dtype=np.int32).reshape(2, 3),
        "drawn": float("inf"),
        "empty": {},
    }
    again = decoded(json.loads(json.dumps(encoded(state))))
    assert again.keys() == state.keys()
    assert (again["worker"], again["drawn"], again["empty"]) == (
        state["worker"],
        state["drawn"],
        {},
    )
    assert torch.equal(again["generator"], state["generator"])
    np.testing.assert_array_equal(again["seen"], state["seen"])
    with pytest.raises(TypeError, match="a object cannot be kept"):
        encoded([object()])


class Counted:
    """Batches that count up from where they are, without end; made is written by each."""

    def __init__(self, length: int | None = None) -> None:
        self.at, self.length = 0, length

    def __iter__(self) -> Iterator[Any]:
        while self.length is None or self.at < self.length:
            self.at += 1
            yield torch.full((2, 3), float(self.at - 1)), torch.zeros(2, dtype=torch.int64)
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on there."""
        self.at = state["at"]


class StatefulLoader(DataLoader[Any]):
    """A loader that says how many batches it has given, and can begin behind them."""

    given = skipped = 0

    def __iter__(self) -> Any:
        skipped, self.skipped = self.skipped, 0
        for index, batch in enumerate(super().__iter__()):
            if index >= skipped:
                self.given = index + 1
                yield batch

    def state_dict(self) -> dict[str, Any]:
        """How many it has given."""
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Leave them out."""
        self.skipped = state["given"]


def stateful_feed(train: Any, updates: int, fetches: Any = "in turn") -> StreamFeed:
    """Of a run that makes checkpoints."""
    return feed_of(train, updates=updates, fetches=fetches, keeps_states=True)


@pytest.mark.parametrize("fetches", ["in turn", "ahead"])
def test_what_can_say_where_it_is_goes_on_there(fetches: Any) -> None:
    feed = stateful_feed(Counted(5), 3, fetches)
    assert [batch[0][0] for batch in read(feed, (1, 0), (1, 1), (1, 2), (2, 0))] == [0, 1, 2, 3]
    state = json.loads(json.dumps(feed.state(2, 0)))  # though the batch behind it was taken already
    assert state == {"place": 3, "number": 0, "base": 0, "of_loader": {"dict": [["at", 3]]}}
    resumed = stateful_feed(Counted(5), 3, fetches)
    resumed.restore(state)
    firsts = [batch[0][0] for batch in read(resumed, (2, 0), (2, 1), (2, 2), (3, 0))]
    assert firsts == [3, 4, 0, 1]


def test_a_stateful_loader_goes_on_in_the_middle_of_a_pass() -> None:
    feed = stateful_feed(StatefulLoader(Augmented(), batch_size=4, shuffle=True), 3)
    expected = read(feed, (1, 0), (1, 1), (1, 2))
    state = feed.state(1, 2)
    assert state is not None
    resumed = stateful_feed(StatefulLoader(Augmented(), batch_size=4, shuffle=True), 3)
    resumed.restore(state)
    assert read(resumed, (1, 2)) == expected[2:]


def test_others_begin_their_pass_again() -> None:
    """Of one without a length that pass is known, and those before it are not made again."""
    feed = feed_of(Endless(10), updates=2, fetches="in turn")
    expected = read(feed, *((epoch, index) for epoch in (1, 2, 3) for index in (0, 1)))
    state = feed.state(3, 0)
    assert state == {"place": 4, "number": 1, "base": 3, "of_loader": None}
    resumed = feed_of(Endless(10), updates=2, fetches="in turn")
    resumed.restore(state)
    assert read(resumed, (3, 0), (3, 1)) == expected[4:]
    assert feed_of(DataLoader(Augmented(), batch_size=4)).state(1, 0) is None
