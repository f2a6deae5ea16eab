"""Which batch is replayed next, and when none is."""

from __future__ import annotations

import pytest

from dni_async.decisions.machines.kept_batches import ReplayBuffer


def test_the_least_replayed_comes_first_and_of_those_the_newest() -> None:
    buffer = ReplayBuffer(places=3, limit=2)
    assert [buffer.keep(batch_id) for batch_id in (4, 5, 6)] == [None, None, None]
    assert [buffer.draw() for _ in range(4)] == [6, 5, 4, 6]
    assert buffer.keep(7) == 4  # the oldest gives way, however often it was replayed
    assert [buffer.draw() for _ in range(3)] == [7, 7, 5]
    assert not buffer.has_more


@pytest.mark.parametrize(("places", "limit"), [(1, 1), (2, 3), (5, 4)])
def test_nothing_is_replayed_beyond_the_limit(places: int, limit: int) -> None:
    buffer = ReplayBuffer(places, limit)
    assert not buffer.has_more
    for batch_id in range(7):
        buffer.keep(batch_id)
    drawn = []
    while buffer.has_more:
        drawn.append(buffer.draw())
    kept = range(7 - places, 7)
    assert sorted(drawn) == sorted(batch_id for batch_id in kept for _ in range(limit))
