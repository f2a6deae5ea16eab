"""The feed of a trial: what is held back is never trained on, and the test part never seen."""

from __future__ import annotations

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.data.held_out import HeldOut, num_held
from dni_async.data.inputs import Inputs

NUM_TRAIN = 1437  # of the digits


@pytest.mark.parametrize(
    ("num_batches", "batch_size", "expected"),
    [(1, 64, 0), (2, 64, 1), (12, 128, 3), (1000, 64, 16), (1000, 5000, 1)],
)
def test_a_thousand_samples_or_a_quarter_of_all_are_held_back(
    num_batches: int, batch_size: int, expected: int
) -> None:
    assert num_held(num_batches, batch_size) == expected


def test_no_sample_is_both_trained_on_and_held_back() -> None:
    config = RunConfig(batch_size=64)
    inputs = Inputs.from_config(config)
    feed = HeldOut(inputs, batch_size=64, epoch_batches=7)
    total = inputs.num_batches[0]
    count = num_held(total, 64)
    assert feed.num_batches == (7, count)
    held = [feed.test_batch(index)[0] for index in range(count)]
    rows = {row.numpy().tobytes() for x in held for row in x}
    trained = [feed.train_batch(1 + place // 7, place % 7)[0] for place in range(3 * total)]
    assert not any(row.numpy().tobytes() in rows for x in trained for row in x)
    assert {len(x) for x in trained} == {64}  # the last batch of a pass has 29


def test_batches_come_in_the_run_s_own_order_and_then_again() -> None:
    config = RunConfig(batch_size=128)
    inputs = Inputs.from_config(config)
    feed = HeldOut(inputs, batch_size=128, epoch_batches=4)
    left = inputs.num_batches[0] - 3 - 1
    for place in range(2 * left):
        x, y = feed.train_batch(1 + place // 4, place % 4)
        own_x, own_y = inputs.train_batch(1, 3 + place % left)
        assert x.equal(own_x)
        assert y.equal(own_y)
