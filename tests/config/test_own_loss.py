"""What a loss of torch's says as settings, and what losses take for targets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from dni_async import ConfigError
from dni_async.config.own_loss import as_settings, taken_by
from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import Taken


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (
            nn.CrossEntropyLoss(),
            {"loss": "cross-entropy", "label_smoothing": 0.0, "ignore_index": -100},
        ),
        (
            nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=255),
            {"loss": "cross-entropy", "label_smoothing": 0.1, "ignore_index": 255},
        ),
        (nn.MSELoss(), {"loss": "mse"}),
        (nn.L1Loss(), {"loss": "l1"}),
        (nn.HuberLoss(), {"loss": "huber"}),
        (nn.SmoothL1Loss(), {"loss": "smooth-l1"}),
        (nn.BCEWithLogitsLoss(), {"loss": "bce-with-logits"}),
        (functional.mse_loss, {"loss": "mse"}),
        (functional.cross_entropy, {"loss": "cross-entropy"}),
        (functional.binary_cross_entropy_with_logits, {"loss": "bce-with-logits"}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_a_name_says_needs_no_object(loss: Any, settings: dict[str, Any]) -> None:
    assert as_settings(loss) == settings
    RunConfig(**settings)


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(weight=torch.ones(3)),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.HuberLoss(delta=2.0),
        nn.SmoothL1Loss(beta=0.5),
        nn.BCEWithLogitsLoss(pos_weight=torch.ones(3)),
        nn.BCEWithLogitsLoss(weight=torch.ones(3)),
        nn.KLDivLoss(),
        functional.poisson_nll_loss,
        lambda outputs, targets: (outputs - targets).mean(),
    ],
    ids=lambda loss: getattr(loss, "__name__", str(loss)),
)
def test_all_else_travels_as_it_is(loss: Any) -> None:
    assert as_settings(loss) is None


def test_what_is_taken_goes_by_the_loss() -> None:
    assert taken_by("cross-entropy", 7) == Taken("classes", 7)
    assert taken_by("huber", -100) == Taken("numbers")
    assert taken_by("bce-with-logits", -100) == Taken("shares")
    assert taken_by("torch.nn:CrossEntropyLoss", 7) == Taken("classes", -100)
    assert taken_by("torch.nn:SmoothL1Loss", -100) == Taken("numbers")
    assert taken_by("torch.nn:KLDivLoss", 7) == Taken("any", 7)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss": "mse", "label_smoothing": 0.1}, "label_smoothing: is of cross-entropy, but"),
        (
            {"loss": "my.own:loss", "label_smoothing": 0.1},
            "label_smoothing: is of cross-entropy, but --loss is my.own:loss; give torch.nn",
        ),
        ({"loss": "huber", "ignore_index": 0}, "ignore_index: is of class labels, but --loss"),
    ],
)
def test_settings_of_other_losses_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RunConfig(**settings)
