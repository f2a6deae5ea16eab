"""What metrics are called, and which names there are."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async import ConfigError, RunConfig
from dni_async.config.metric_names import (
    MAX_METRICS,
    METRICS,
    default_metrics,
    label_of,
    own_name,
    traits_of_metric,
)
from dni_async.config.target_form import Taken, TargetForm
from dni_async.stage.losses.metrics.catalog import make_metrics
from dni_async.wire.messages import MAX_FIGURES, MAX_NAME


@pytest.mark.parametrize(
    ("entry", "label", "own"),
    [
        ("accuracy", "accuracy", None),
        ("top-5", "top-5", None),
        ("package.module:dice", "dice", "package.module:dice"),
        ("Dice-2=package.module:dice", "Dice-2", "package.module:dice"),
    ],
)
def test_entries_and_their_labels(entry: str, label: str, own: str | None) -> None:
    assert (label_of(entry), own_name(entry)) == (label, own)


@pytest.mark.parametrize(
    ("settings", "measured", "goal"),
    [
        ({}, ("accuracy",), ("accuracy", "max")),
        ({"metrics": ("mae", "r2")}, ("mae", "r2"), ("mae", "min")),
        ({"metrics": ()}, (), ("loss", "min")),
        ({"metrics": ("loss",)}, ("loss",), ("loss", "min")),
        ({"metric": "loss"}, ("accuracy",), ("loss", "min")),
        ({"metric": "top-3"}, ("accuracy", "top-3"), ("top-3", "max")),
        ({"metrics": ("f=a:b",)}, ("f=a:b",), ("f", "max")),
        ({"metrics": ("f=a:b",), "metric_mode": "min"}, ("f=a:b",), ("f", "min")),
    ],
)
def test_what_is_measured_and_what_is_chosen(
    settings: dict[str, object], measured: tuple[str, ...], goal: tuple[str, str]
) -> None:
    config = RunConfig.from_dict(settings)
    assert config.measured == measured
    assert (config.goal.metric, config.goal.mode) == goal
    assert RunConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("kind", "form", "output_shape", "names"),
    [
        ("classes", TargetForm(3), (3,), ("accuracy",)),
        ("numbers", TargetForm(0, (2,), "float32"), (2,), ()),
        ("any", TargetForm(0, (2,), "float32"), (2,), ()),
        ("any", TargetForm(3), (3,), ("accuracy",)),
        ("any", TargetForm(3), (), ()),
        ("any", TargetForm(3), (2,), ()),
        ("any", TargetForm(3, (7,)), (7, 4), ("accuracy",)),
        ("any", TargetForm(3, (7, 5)), (4, 7, 5), ("accuracy",)),
        ("any", TargetForm(3, (7, 5)), (7, 5), ()),
    ],
)
def test_accuracy_is_measured_unasked_where_outputs_are_logits(
    kind: Any, form: TargetForm, output_shape: tuple[int, ...], names: tuple[str, ...]
) -> None:
    assert default_metrics(Taken(kind), form, output_shape) == names


def test_every_metric_with_a_name_is_made_and_fits_a_message() -> None:
    names = [*METRICS, "top-5"]
    assert list(make_metrics([*names, "loss"])) == names
    assert MAX_METRICS == MAX_FIGURES
    assert max(map(len, names)) <= MAX_NAME
    with pytest.raises(ConfigError, match="cannot be the name of one"):
        RunConfig(metrics=("x" * (MAX_NAME + 1) + "=a:b",))
    with pytest.raises(ConfigError, match="metrics: must be at most 32, but are 33"):
        RunConfig(metrics=tuple(f"top-{k}" for k in range(1, MAX_METRICS + 2)))
    assert traits_of_metric("top-7").is_share
