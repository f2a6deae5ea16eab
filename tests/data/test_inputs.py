"""Batches of a run: complete, labelled as in the data, the same for every process."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dni_async.data import Dataset
from dni_async.data.dataset import checked_dataset
from dni_async.data.inputs import Inputs


def numbered(dtype: type[np.generic] = np.float32) -> Dataset:
    """Samples that carry their own number; the label is that number modulo 3."""
    train, test = np.arange(10, dtype=dtype), np.arange(5, dtype=dtype)
    return checked_dataset(
        "numbered",
        x_train=np.stack([train, train], 1),
        y_train=np.arange(10) % 3,
        x_test=np.stack([test, test], 1),
        y_test=np.arange(5) % 3,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_an_epoch_gives_every_sample_once_with_its_label(dtype: type[np.generic]) -> None:
    inputs = Inputs(numbered(dtype), batch_size=4, seed=0)
    assert (inputs.num_train, inputs.num_train_batches, inputs.num_test_batches) == (10, 3, 2)
    batches = [inputs.train_batch(1, index) for index in range(3)]
    assert [len(y) for _, y in batches] == [4, 4, 2]
    x = torch.cat([x for x, _ in batches])
    y = torch.cat([y for _, y in batches])
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert sorted(x[:, 0].tolist()) == list(range(10))
    assert torch.equal(x[:, 0].long() % 3, y)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_test_batches_come_in_file_order(dtype: type[np.generic]) -> None:
    inputs = Inputs(numbered(dtype), batch_size=4, seed=0)
    assert inputs.test_batch(0)[0].dtype == torch.float32
    numbers = [inputs.test_batch(index)[0][:, 0].tolist() for index in range(2)]
    assert numbers == [[0, 1, 2, 3], [4]]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first, again = (Inputs(numbered(), batch_size=10, seed=3) for _ in range(2))
    other = Inputs(numbered(), batch_size=10, seed=4)
    order = {epoch: first.train_batch(epoch, 0)[0].tolist() for epoch in (1, 2, 3)}
    assert {epoch: again.train_batch(epoch, 0)[0].tolist() for epoch in (3, 1, 2)} == order
    assert other.train_batch(1, 0)[0].tolist() != order[1]
    assert order[1] != order[2]


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_without_test_samples_a_network_is_tried_on_training_samples(
    dtype: type[np.generic],
) -> None:
    x = np.arange(20, dtype=dtype).reshape(10, 2)
    data = checked_dataset("untested", x_train=x, y_train=np.arange(10) % 3)
    few = Inputs(data, batch_size=4, seed=0).few_samples()
    assert few[:4].tolist() == x[:4].tolist()
    assert not data.holds_ids or 19 in few
