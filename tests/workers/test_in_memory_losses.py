"""Whole lines in one process on every kind of target: as torch bit for bit, by every rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.wire.messages import Evaluated
from tests.workers.lines import named, trained
from tests.workers.test_in_memory_plain_torch import plainly_trained, write_sequences

pytestmark = pytest.mark.usefixtures("as_in_a_worker")
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def write(path: Path, y: Any, x: Any) -> None:
    """110 samples in a file."""
    np.savez(path, x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:])


def write_regression(path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(110, 6))
    write(path, np.sin(x[:, 0]) + x[:, 1] * x[:, 2] / 2, x)


def write_several_labels(path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(110, 6))
    write(path, x @ rng.normal(size=(6, 5)) > 0.5, x)


def write_padded(path: Path) -> None:
    """Tags of sequences whose padding has the label that does not count; one has no other."""
    write_sequences(path, tags=True)
    arrays = dict(np.load(path))
    for split in ("train", "test"):
        arrays[f"y_{split}"][arrays[f"x_{split}"] == 0] = 255
    arrays["y_train"][3] = 255
    np.savez(path, **arrays)


def write_pixels(path: Path, *, are_masks: bool = False) -> None:
    """Images of which each pixel's class follows."""
    x = np.random.default_rng(0).normal(size=(110, 1, 8, 8)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (x[:, 0] > 1)
    write(path, (y[:, None] > 0).astype(np.float32) if are_masks else y, x)


def of_positions(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(
        outputs.flatten(0, 1), targets.flatten(), ignore_index=255, label_smoothing=0.1
    )


def huber(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.huber_loss(outputs, targets)


def of_several(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, targets)


def dice(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from tests import own_losses

    return own_losses.dice(outputs, targets)


KINDS: dict[str, tuple[dict[str, Any], Callable[[Path], None], Loss]] = {
    "huber": ({"loss": "huber"}, write_regression, huber),
    "several labels": ({"loss": "bce-with-logits"}, write_several_labels, of_several),
    "padded": (
        {"label_smoothing": 0.1, "ignore_index": 255, "model": "tests.plain_networks:tagger"},
        write_padded,
        of_positions,
    ),
    "pixels": ({"model": "tests.own_losses:segmenter"}, write_pixels, functional.cross_entropy),
    "masks": (
        {"model": "tests.own_losses:masks", "loss": "tests.own_losses:dice"},
        partial(write_pixels, are_masks=True),
        dice,
    ),
}
ALL = {
    "layers": 3,
    "width": 16,
    "norm": "none",
    "batch_size": 16,
    "epochs": 3,
    "seed": 5,
    "lr": 0.003,
}


def losses_of(line: Any) -> list[float]:
    return [message.loss for _, message in line.told if isinstance(message, Evaluated)]


@pytest.mark.parametrize("kind", KINDS)
def test_lockstep_equals_torch_bit_for_bit(kind: str, tmp_path: Path) -> None:
    settings, prepare, loss = KINDS[kind]
    prepare(tmp_path / "data.npz")
    settings = {**ALL, **settings, "data": str(tmp_path / "data.npz"), "rule": "backprop"}
    optimizer: Any = partial(torch.optim.Adam, lr=settings["lr"], fused=True)
    expected, losses = plainly_trained(RunConfig(**settings), optimizer, loss)
    line = trained(**settings)
    weights = line.state_dict()
    for key, weight in expected.state_dict().items():
        assert torch.equal(weights[key], weight), key
    if kind != "padded":  # whose batches weigh as many labels as count
        assert losses_of(line) == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize(
    "rule",
    [
        {"anchor_every": 4},
        {"targets": "bootstrap", "synthesizer": "linear", "window": 2},
        {"rule": "dgl", "synthesizer_layers": 1, "synthesizer_width": 8},
        pytest.param({"rule": "fdg", "window": 1}, marks=pytest.mark.slow),
        pytest.param({"rule": "no-bprop"}, marks=pytest.mark.slow),
    ],
    ids=named,
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_trains(kind: str, rule: dict[str, Any], tmp_path: Path) -> None:
    settings, prepare, _ = KINDS[kind]
    prepare(tmp_path / "data.npz")
    if rule.get("synthesizer") == "linear" and kind in ("pixels", "masks"):
        rule = {**rule, "synthesizer": "conv"}
    line = trained(**{**ALL, **settings, **rule, "data": str(tmp_path / "data.npz"), "epochs": 5})
    assert line.losses[-1] < line.losses[0]
    if kind != "padded":  # whose tags are too few to tell how the others will be
        assert losses_of(line)[-1] < losses_of(line)[0]
    assert all(value.isfinite().all() for value in line.state_dict().values())
