"""Batches: every sample once an epoch, in an order that the arguments alone decide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.data import batch_order


@settings(deadline=None)
@given(
    num_samples=st.integers(1, 300),
    batch_size=st.integers(1, 400),
    seed=st.integers(0, 2**64),
    epoch=st.integers(0, 1000),
)
def test_every_sample_once_and_only_the_last_batch_short(
    num_samples: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = batch_order(num_samples, batch_size, seed=seed, epoch=epoch)
    sizes = [len(batch) for batch in batches]
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size
    assert all(batch.dtype == np.int64 for batch in batches)
    assert sorted(np.concatenate(batches)) == list(range(num_samples))


def test_same_arguments_same_order() -> None:
    first, second = (batch_order(1000, 64, seed=7, epoch=3) for _ in range(2))
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]


def test_batch_size_cuts_the_same_order() -> None:
    small, large = (np.concatenate(batch_order(100, size, seed=1, epoch=1)) for size in (7, 50))
    assert small.tolist() == large.tolist()


def test_seeds_and_epochs_give_distinct_orders() -> None:
    orders = {
        tuple(batch_order(20, 20, seed=seed, epoch=epoch)[0].tolist())
        for seed in (0, 1, 2, 2**32, 2**40)
        for epoch in range(4)
    }
    assert len(orders) == 20


def test_order_stays_what_it_was() -> None:
    """Runs are compared across versions of this package: a change here is a breaking one."""
    assert [batch.tolist() for batch in batch_order(8, 3, seed=0, epoch=0)] == [
        [5, 3, 0],
        [1, 2, 4],
        [7, 6],
    ]


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "seed", "epoch", "message"),
    [
        (0, 1, 0, 0, "cannot cut 0 samples into batches of 1"),
        (5, 0, 0, 0, "cannot cut 5 samples into batches of 0"),
        (5, 1, -1, 0, "seed -1 and epoch 0 must not be negative"),
        (5, 1, 0, -2, "seed 0 and epoch -2 must not be negative"),
    ],
)
def test_arguments_out_of_range(
    num_samples: int, batch_size: int, seed: int, epoch: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        batch_order(num_samples, batch_size, seed=seed, epoch=epoch)
