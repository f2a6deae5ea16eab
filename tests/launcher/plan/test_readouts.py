"""Which boundaries a critic cannot serve is said before the run."""

from __future__ import annotations

import re
from pathlib import Path

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
