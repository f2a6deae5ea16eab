"""Metrics of numbers are of all samples together, however these are cut into batches."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score

from dni_async import ConfigError
from dni_async.stage.losses.metrics.catalog import make_metrics
from tests.stage.losses.metrics.test_classes import value_of

BY_NAME = {"mae": mean_absolute_error, "r2": r2_score}


def drawn(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs near targets."""
    draw = torch.Generator().manual_seed(1)
    targets = 10 + torch.randn(*shape, generator=draw)
    return targets + torch.randn(*shape, generator=draw) / 2, targets


@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 3)])
def test_values_are_those_of_scikit_learn(shape: tuple[int, ...]) -> None:
    outputs, targets = drawn(*shape)
    for name, metric in make_metrics(["mae", "r2", "rmse"]).items():
        if name == "rmse":
            expected = math.sqrt((outputs - targets).double().square().mean())
        else:
            expected = BY_NAME[name](targets.double(), outputs.double())
        assert value_of(metric, outputs, targets) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("outputs", "r2"), [([7.1, 7.1, 7.1], 1.0), ([7.0, 7.1, 7.2], 0.0)])
def test_r2_of_targets_that_are_all_alike(outputs: list[float], r2: float) -> None:
    (metric,) = make_metrics(["r2"]).values()
    assert value_of(metric, torch.tensor(outputs), torch.full((3,), 7.1), cut=1) == r2


def test_the_sign_of_a_logit_answers_yes_or_no() -> None:
    (metric,) = make_metrics(["binary-accuracy"]).values()
    outputs = torch.tensor([[2.0, -1.0], [-0.5, 3.0], [0.0, 1.0], [1.0, 1.0]])
    targets = torch.tensor([[1, 0], [1, 1], [0, 0], [1, 1]])
    assert value_of(metric, outputs, targets) == 6 / 8
    assert value_of(metric, outputs[:, :1], targets[:, 0]) == 3 / 4


@pytest.mark.parametrize("name", ["mae", "rmse", "r2", "binary-accuracy"])
def test_shapes_that_differ_are_refused_and_never_broadcast(name: str) -> None:
    (metric,) = make_metrics([name]).values()
    assert len(metric.sums(torch.zeros(3, 1), torch.zeros(3))) > 1
    with pytest.raises(ConfigError, match=rf"metrics: {name} compares .* \[3, 4\] and .* \[3\]"):
        metric.sums(torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64))
