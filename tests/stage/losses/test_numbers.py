"""Losses of numbers: torch's own values and gradients, and shapes that belong together."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from dni_async import ConfigError
from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.stage.losses.catalog import make_loss, run_loss
from dni_async.stage.losses.score import add_scores
from tests.stage.test_stage import random

NAMED = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
    "smooth-l1": functional.smooth_l1_loss,
    "bce-with-logits": functional.binary_cross_entropy_with_logits,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(16,), (16, 3), (4, 5, 3), (4, 2, 6, 6)])
@pytest.mark.parametrize("name", NAMED)
def test_loss_and_gradient_equal_torchs_bit_for_bit(
    name: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    outputs, targets = random(*shape).to(dtype).requires_grad_(), random(*shape, seed=2).sigmoid()
    expected = NAMED[name](outputs.float(), targets)
    expected.backward()
    form = TargetForm(0, shape[1:], "float32")
    loss = run_loss(RunConfig(loss=name), form)
    loss.check_outputs(outputs, targets)
    value, gradient = loss.gradient(outputs.detach(), targets)
    assert value == expected.item()
    assert gradient.dtype == dtype
    assert torch.equal(gradient, outputs.grad)  # type: ignore[arg-type]
    assert (loss.sample_dims(targets), loss.output_shape) == (1, shape[1:])
    assert loss.target_dtype == torch.float32


@pytest.mark.parametrize(
    "module",
    [
        nn.HuberLoss(delta=0.3),
        nn.SmoothL1Loss(beta=0.2),
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 0.5])),
        nn.BCEWithLogitsLoss(weight=torch.tensor([1.0, 2.0, 0.5])),
        nn.MSELoss(),
        nn.L1Loss(),
    ],
    ids=lambda module: str(module),
)
def test_modules_of_torchs_are_as_in_torch_bit_for_bit(module: Any, named: Any) -> None:
    outputs, targets = random(16, 3).requires_grad_(), random(16, 3, seed=2).sigmoid()
    expected = module(outputs, targets)
    expected.backward()
    config = RunConfig(loss=named(module))
    loss = run_loss(config, TargetForm(0, (3,), "float32"))
    assert type(loss).__name__ == "OfNumbers"
    value, gradient = loss.gradient(outputs.detach(), targets)
    assert value == expected.item()
    assert torch.equal(gradient, outputs.grad)  # type: ignore[arg-type]
    takes = "shares" if isinstance(module, nn.BCEWithLogitsLoss) else "numbers"
    assert config.taken.kind == takes


@pytest.mark.parametrize(("outputs", "targets"), [((8, 1), (8,)), ((8,), (8, 1))])
def test_one_number_a_sample_belongs_to_one_in_a_column(
    outputs: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    """Torch would broadcast [8] against [8, 1] to [8, 8]."""
    given, wanted = random(*outputs), random(*targets, seed=2)
    loss = run_loss(RunConfig(loss="huber"), TargetForm(0, targets[1:], "float32"), outputs[1:])
    loss.check_outputs(given, wanted)
    value, gradient = loss.gradient(given, wanted)
    assert value == functional.huber_loss(given.flatten(), wanted.flatten()).item()
    assert gradient.shape == given.shape


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match=re.escape("the output is [4], needs [4, 2]")):
        make_loss("mse", (2,)).check_outputs(torch.zeros(4), torch.zeros(4, 2))


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("name", NAMED)
def test_gradients_of_samples_are_of_each_ones_own_loss(name: str, dim: int) -> None:
    outputs, targets = random(16, 6).requires_grad_(), random(16, 2, 3, seed=2).sigmoid()
    own = [NAMED[name](o, t.flatten()) for o, t in zip(outputs, targets, strict=True)]
    (reference,) = torch.autograd.grad(torch.stack(own).sum(), outputs)
    given = outputs.detach() if dim == 1 else outputs.detach().t().contiguous()
    found = make_loss(name, (2, 3)).sample_gradients(given, targets, dim=dim)
    torch.testing.assert_close(found if dim == 1 else found.t(), reference)


def test_scores_of_batches_add_up_to_the_mean_over_all_samples() -> None:
    loss, outputs, targets = make_loss("l1", (3,)), random(5, 3), random(5, 3, seed=2)
    parts = [loss.score(outputs[:2], targets[:2]), loss.score(outputs[2:], targets[2:])]
    whole = add_scores(parts)
    assert whole.num_samples == 5
    expected = functional.l1_loss(outputs, targets).item()
    assert whole.means == {"loss": pytest.approx(expected)}
    assert [loss.weight(targets[:2]), loss.weight(targets[2:])] == [2, 3]


def test_integers_are_compared_as_numbers() -> None:
    loss = run_loss(RunConfig(loss="mse"), TargetForm(0, (), "int64"))
    assert loss.target_dtype == torch.int64
    assert loss.gradient(torch.tensor([1.0]), torch.tensor([3]))[0] == 4
