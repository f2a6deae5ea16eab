"""A loss that cannot train is one sentence before any process starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dni_async import ConfigError, DataError
from dni_async.config.run_config import RunConfig
from dni_async.launcher.plan.plan import Plan, make_plan

X = np.random.default_rng(0).normal(size=(12, 10)).astype(np.float32)


def planned(tmp_path: Path, y: Any, **settings: Any) -> Plan:
    """The plan of a run on 12 samples with these targets."""
    path = tmp_path / "own.npz"
    np.savez(path, x_train=X, y_train=y, x_test=X, y_test=y)
    return make_plan(RunConfig(data=str(path), width=8, layers=3, batch_size=4, **settings))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("per_sample", "it gives a tensor [8], needs a scalar tensor; give its mean()"),
        ("no_gradient", "it gives a value without a gradient by the outputs; compute it by torch"),
        ("not_a_number", "it is nan; it must be finite"),
        ("raises", "it raised ValueError('cannot compare [4, 2] with [4, 2]')"),
    ],
)
def test_a_loss_that_cannot_train(tmp_path: Path, name: str, said: str) -> None:
    said = said.replace("[8]", "[4]")
    with pytest.raises(ConfigError) as error:
        planned(tmp_path, X[:, :2], loss=f"tests.own_losses:{name}")
    sentence = f"loss: of outputs [4, 2] and float32 targets [4, 2] {said}"
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("y", "settings", "said"),
    [
        (
            X[:, 0],
            {},
            "y_train must hold integer labels, not float32; to train on numbers name loss",
        ),
        (np.arange(12), {"loss": "bce-with-logits"}, "y_train holds 2 at [2], but the loss takes"),
        (
            np.where(X[:, 0] > 0, np.nan, 1),
            {"loss": "mse"},
            "not finite as float32, the first at [",
        ),
        (np.full(12, -100), {}, "y_train holds no label but -100, which does not count"),
        (np.arange(12) - 1, {}, "y_train holds label -1; labels start at 0, and what ignore_index"),
        (
            X[:, 0].astype(complex),
            {"loss": "mse"},
            "y_train must hold real numbers, not complex128",
        ),
    ],
)
def test_targets_that_do_not_fit_name_the_loss_that_does(
    tmp_path: Path, y: Any, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        planned(tmp_path, y, **settings)


@pytest.mark.parametrize(
    ("y", "settings", "shape"),
    [
        (X[:, 0], {"loss": "huber"}, ()),
        (X[:, :3], {"loss": "mse"}, (3,)),
        (np.tile(X[:, :, None], 2), {"loss": "l1"}, (10, 2)),
        (X[:, :4] > 0, {"loss": "bce-with-logits"}, (4,)),
        (np.arange(12) % 3, {}, (3,)),
        (np.where(X[:, 0] > 1, -100, np.arange(12) % 3), {}, (3,)),
        (np.arange(12) % 3, {"loss": "torch.nn:MultiMarginLoss"}, (3,)),
    ],
)
def test_networks_of_ours_have_an_output_for_each_number(
    tmp_path: Path, y: Any, settings: dict[str, Any], shape: tuple[int, ...]
) -> None:
    assert planned(tmp_path, y, **settings).output_shape == shape


def test_outputs_that_do_not_fit_the_targets_are_the_models(tmp_path: Path) -> None:
    y = (np.arange(12) % 3).reshape(12, 1, 1).repeat(8, 1).repeat(8, 2)
    path = tmp_path / "own.npz"
    x = np.zeros((12, 1, 8, 8), np.float32)
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    config = RunConfig(data=str(path), model="tests.own_losses:masks", batch_size=4)
    said = re.escape("model: the output is [4, 1, 8, 8], needs [4, at least 3, 8, 8]")
    with pytest.raises(ConfigError, match=said):
        make_plan(config)
