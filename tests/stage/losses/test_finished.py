"""Losses of probabilities: torch's own at the head, those of logits for a readout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from dni_async import ConfigError
from dni_async.config.own_loss import as_settings
from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.stage.losses.catalog import run_loss
from tests.stage.test_stage import random

C = 5
WEIGHTS = torch.tensor([0.5, 1.0, 3.0, 0.1, 2.0])


@pytest.mark.parametrize("shape", [(16,), (3, 4, 6)])  # labels of samples, of pixels
@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_nll_is_torchs_and_its_readout_cross_entropy(
    named: Any, shape: tuple[int, ...], weight: torch.Tensor | None
) -> None:
    module = nn.NLLLoss(weight=weight)
    targets = torch.randint(C, shape, generator=torch.Generator().manual_seed(3))
    targets[0] = -100
    logits = random(shape[0], C, *shape[1:])
    outputs = logits.log_softmax(1).requires_grad_()
    loss = run_loss(
        RunConfig(loss=named(module)),
        TargetForm(C, shape[1:], "int64", -100),
        tuple(outputs.shape[1:]),
    )
    loss.check_outputs(outputs, targets)
    expected = module(outputs, targets)
    expected.backward()
    value, gradient = loss.gradient(outputs.detach(), targets)
    assert value == expected.item()
    assert torch.equal(gradient, outputs.grad)  # type: ignore[arg-type]
    of_logits = nn.CrossEntropyLoss(weight=weight)(logits, targets)
    assert loss.of_readout.mean(logits, targets) == of_logits
    with pytest.raises(ConfigError, match="end the model with log_softmax, or take cross-entropy"):
        loss.check_outputs(logits, targets)


@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_bce_is_torchs_and_its_readout_that_of_logits(
    named: Any, weight: torch.Tensor | None
) -> None:
    module, targets = nn.BCELoss(weight=weight), random(16, C, seed=2).sigmoid()
    logits = random(16, C)
    outputs = logits.sigmoid().requires_grad_()
    loss = run_loss(RunConfig(loss=named(module)), TargetForm(0, (C,), "float32"), (C,))
    loss.check_outputs(outputs, targets)
    expected = module(outputs, targets)
    expected.backward()
    value, gradient = loss.gradient(outputs.detach(), targets)
    assert value == expected.item()
    assert torch.equal(gradient, outputs.grad)  # type: ignore[arg-type]
    expected = functional.binary_cross_entropy_with_logits(logits, targets, weight=weight)
    assert loss.of_readout.mean(logits, targets) == expected
    with pytest.raises(ConfigError, match="end the model with sigmoid, or take bce-with-logits"):
        loss.check_outputs(logits, targets)


def test_torchs_functions_and_modules_have_these_names() -> None:
    for given, name in (
        (functional.nll_loss, "nll"),
        (functional.binary_cross_entropy, "bce"),
        (nn.BCELoss(), "bce"),
    ):
        assert as_settings(given) == {"loss": name}
    assert as_settings(nn.NLLLoss(ignore_index=2)) == {"loss": "nll", "ignore_index": 2}
    assert as_settings(nn.NLLLoss(weight=WEIGHTS)) is None
    form = TargetForm(C, (), "int64")
    assert type(run_loss(RunConfig(loss="nll"), form)).__name__ == "LogProbabilities"
    assert type(run_loss(RunConfig(loss="bce"), TargetForm(0, (C,), "float32"))).__name__ == (
        "Probabilities"
    )
