"""Gathered gradients: the mean of several batches makes one update."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dni_async.stage.descent.accumulation import Accumulated
from tests.stage.test_stage import assert_unchanged, make_stage, random, snapshot, two_layers


def test_the_mean_is_given_after_every_nth_batch() -> None:
    used, unused = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    gathered = Accumulated(3)
    memory = torch.empty(2)  # which each backward writes again
    for number, value in enumerate((1.0, 4.0, 7.0, 10.0, 10.0, 40.0), start=1):
        used.grad = memory.fill_(value)
        assert gathered.add([used, unused]) is (number % 3 == 0)
        if number % 3:
            assert used.grad is None
        else:
            assert used.grad is not None
            assert used.grad.tolist() == [{3: 4.0, 6: 20.0}[number]] * 2
        assert unused.grad is None


@pytest.mark.parametrize("is_dense", [True, False])
def test_two_halves_make_the_update_of_the_whole_batch(is_dense: bool) -> None:
    layers, whole = two_layers(), two_layers()
    if not is_dense:
        layers, whole = nn.Sequential(layers, nn.Tanh()), nn.Sequential(whole, nn.Tanh())
    x, gradient = random(8, 4), random(8, 3, seed=2)
    stage = make_stage(layers, accumulate=2)
    before = snapshot(layers)
    for batch_id, part in enumerate((slice(4), slice(4, 8))):
        stage.forward(batch_id, x[part], needs_input_gradient=False)
        # Of a mean over half as many samples, so twice as large.
        stage.pull_back(batch_id, 2 * gradient[part], source="gradient")
        stage.apply()
        if batch_id == 0:
            assert stage.version == 0
            assert_unchanged(layers, before)
    assert stage.version == 1
    reference = make_stage(whole)
    reference.forward(0, x, needs_input_gradient=False)
    reference.update(0, gradient, source="gradient")
    for mine, theirs in zip(layers.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
