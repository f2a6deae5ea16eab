"""A loss of the user's own: whatever a function of outputs and targets gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dni_async import ConfigError
from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.stage.losses.catalog import run_loss
from tests.stage.test_stage import random


def focal(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    log_p = torch.log_softmax(outputs, 1).gather(1, targets.unsqueeze(1))
    return (-((1 - log_p.exp()) ** 2) * log_p).mean()


def test_its_gradient_is_autograds(named: Any) -> None:
    outputs, targets = random(8, 3).requires_grad_(), torch.arange(8) % 3
    expected = focal(outputs, targets)
    expected.backward()  # type: ignore[no-untyped-call]
    config = RunConfig(loss=named(focal))
    assert config.taken.kind == "any"
    loss = run_loss(config, TargetForm(3), (3,))
    value, gradient = loss.gradient(outputs.detach(), targets)
    assert value == expected.item()
    assert torch.equal(gradient, outputs.grad)  # type: ignore[arg-type]
    rows = loss.sample_gradients(outputs.detach(), targets, dim=1)
    torch.testing.assert_close(rows, gradient * 8)


def test_a_module_with_parameters_is_refused(named: Any) -> None:
    name = named(nn.Bilinear(2, 2, 1))
    with pytest.raises(ConfigError, match="Bilinear has parameters, but no stage would train them"):
        run_loss(RunConfig(loss=name), TargetForm(0, (2,), "float32"), (2,))


def test_a_class_is_made_and_what_is_no_loss_is_named() -> None:
    form = TargetForm(0, (2,), "float32")
    loss = run_loss(RunConfig(loss="torch.nn:HuberLoss"), form, (2,))
    assert type(loss).__name__ == "OfNumbers"
    with pytest.raises(ConfigError, match="loss: must be one of cross-entropy, mse"):
        RunConfig(loss="mae")
    with pytest.raises(ConfigError, match=r"loss: torch:Generator\(\) gives a Generator, needs"):
        run_loss(RunConfig(loss="torch:Generator"), form, (2,))
    with pytest.raises(ConfigError, match=r"loss: 'torch.nn' has no callable 'NoLoss'"):
        run_loss(RunConfig(loss="torch.nn:NoLoss"), form, (2,))
