"""Mean squared error: torch's own numbers, and what synthesizers take from it."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn import functional

from dni_async import ConfigError
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.losses.score import add_scores
from dni_async.stage.losses.squared_error import Numbers, SquaredError
from tests.stage.test_stage import random


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(16, 3), (4, 5, 3)])
def test_loss_and_gradient_equal_autograds_bit_for_bit(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    outputs, targets = random(*shape).to(dtype).requires_grad_(), random(*shape, seed=2)
    expected = functional.mse_loss(outputs.float(), targets)
    expected.backward()  # type: ignore[no-untyped-call]
    value, gradient = SquaredError((3,)).gradient(outputs.detach(), targets)
    assert value == expected.item()
    assert torch.equal(gradient, outputs.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("shape", "num_samples"), [((3,), 20), ((5, 3), 4)])
def test_a_samples_shape_says_what_a_sample_is(shape: tuple[int, ...], num_samples: int) -> None:
    loss, targets = SquaredError(shape), random(4, 5, 3)
    assert loss.sample_dims(targets) == 3 - len(shape)
    outputs = random(4, 5, 3, seed=2)
    score = loss.score(outputs, targets)
    assert score.num_samples == num_samples
    expected = functional.mse_loss(outputs, targets).item()
    assert score.means == {"loss": pytest.approx(expected)}
    halves = [loss.score(outputs[:1], targets[:1]), loss.score(outputs[1:], targets[1:])]
    assert add_scores(halves).means["loss"] == pytest.approx(expected)


@pytest.mark.parametrize("dim", [0, 1])
def test_gradients_of_samples_are_of_each_ones_own_loss(dim: int) -> None:
    outputs, targets = random(16, 6).requires_grad_(), random(16, 2, 3, seed=2)
    of_samples = (outputs - targets.flatten(1)).square().mean(1)
    (reference,) = torch.autograd.grad(of_samples.sum(), outputs)
    given = outputs.detach() if dim == 1 else outputs.detach().t().contiguous()
    found = SquaredError((2, 3)).sample_gradients(given, targets, dim=dim)
    torch.testing.assert_close(found if dim == 1 else found.t(), reference)


def test_targets_are_their_own_code() -> None:
    encoding, targets = Numbers(6), random(4, 2, 3)
    table, rows = random(6, 5, seed=2), random(4, 5, seed=3)
    assert torch.equal(encoding.codes(targets), targets.flatten(1))
    assert torch.equal(encoding.select(table, targets), targets.flatten(1) @ table)
    assert torch.equal(encoding.collect(targets, rows), targets.flatten(1).t() @ rows)


def test_outputs_of_another_shape_are_refused() -> None:
    """Torch would broadcast [4] against [4, 1] to [4, 4]."""
    with pytest.raises(ConfigError, match=re.escape("the output is [4], needs [4, 1]")):
        make_loss("mse", (1,)).check_outputs(torch.zeros(4), torch.zeros(4, 1))


def test_a_loss_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="loss: must be one of cross-entropy, mse, but is 'mae'"):
        make_loss("mae", (1,))
