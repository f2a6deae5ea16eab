"""Which boundaries get another synthesizer than is named is said before the run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dni_async import ConfigError
from dni_async.config.run_config import RunConfig
from dni_async.launcher.plan.plan import make_plan


@pytest.fixture
def reconstruction(tmp_path: Path) -> str:
    """Samples of 10 numbers, targets of 5000."""
    x = np.random.default_rng(0).normal(size=(12, 10)).astype(np.float32)
    y = np.repeat(x, 500, axis=1)
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return str(tmp_path / "own.npz")


def test_too_many_outputs_are_said_with_the_layers(reconstruction: str) -> None:
    config = RunConfig(data=reconstruction, loss="mse", layers=3, width=8, batch_size=4)
    (note,) = make_plan(config).notes
    assert note == (
        "5,000 outputs a sample are too many to be read out above layers 0, 1: there a synthesizer "
        "predicts that returned gradients alone teach"
    )


def test_a_rule_that_learns_from_readouts_alone_is_refused(reconstruction: str) -> None:
    config = RunConfig(data=reconstruction, loss="mse", rule="dgl", width=8, batch_size=4)
    with pytest.raises(ConfigError, match=re.escape("5,000 outputs a sample are too many to be")):
        make_plan(config)


@pytest.mark.parametrize("settings", [{"synthesizer": "linear"}, {"rule": "fdg"}])
def test_where_no_critic_is_asked_for_nothing_is_said(
    reconstruction: str, settings: dict[str, str]
) -> None:
    config = RunConfig(data=reconstruction, loss="mse", width=8, batch_size=4, **settings)  # type: ignore[arg-type]
    assert make_plan(config).notes == ()


IMAGES = """
from torch import nn


def make():
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, stride=2, padding=1),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
"""


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A network whose readout takes what its second layer gives."""
    (tmp_path / "images.py").write_text(IMAGES)
    monkeypatch.syspath_prepend(str(tmp_path))  # type: ignore[no-untyped-call]
    yield "images:make"
    sys.modules.pop("images", None)


def test_where_the_critic_is_a_copy_is_said(images: str) -> None:
    notes = make_plan(RunConfig(model=images)).notes
    assert notes == ("a copy of what lies above predicts gradients above layers 0, 1, 2",)
    assert make_plan(RunConfig(model=images, synthesizer_layers=0)).notes == ()
    assert make_plan(RunConfig(model=images, synthesizer="copy")).notes == ()
    assert make_plan(RunConfig(model=images, rule="fdg")).notes == ()


def test_where_a_copy_is_asked_for_and_a_critic_must_do_is_said() -> None:
    model = "tests.workers.value_networks:skip"
    (note,) = make_plan(RunConfig(model=model, synthesizer="copy")).notes
    assert note == (
        "no copy of what lies above can predict gradients above layers 0, 1, 2: several values "
        "pass there, or modules that cannot be copied; there a critic does"
    )


def test_a_copy_reads_out_what_a_critic_cannot(reconstruction: str) -> None:
    settings: dict[str, Any] = {"data": reconstruction, "loss": "mse", "width": 8, "batch_size": 4}
    assert make_plan(RunConfig(rule="dgl", synthesizer="copy", **settings)).notes == ()
