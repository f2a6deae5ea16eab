"""Cross-entropy with weights, smoothing, ignored labels and pixels: torch's, bit for bit."""

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
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.losses.cross_entropy import CrossEntropy
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.score import add_scores
from tests.stage.test_stage import random

C = 5
WEIGHTS = torch.tensor([0.5, 1.0, 3.0, 0.1, 2.0])
MODULES = [
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(label_smoothing=0.1),
    nn.CrossEntropyLoss(weight=WEIGHTS),
    nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.2),
]
PLACES = [(16,), (4, 7), (3, 4, 6)]  # labels of samples, of positions, of pixels


def labels(*shape: int, ignored: int | None) -> torch.Tensor:
    drawn = torch.randint(C, shape, generator=torch.Generator().manual_seed(3))
    if ignored is not None:
        drawn[random(*shape, seed=4) > 0.3] = ignored
    return drawn


def logits(targets: torch.Tensor) -> torch.Tensor:
    """As a network gives them: the classes last, but of pixels behind the batch."""
    shape = list(targets.shape)
    shape.insert(1 if targets.ndim > 2 else targets.ndim, C)
    return random(*shape)


def torchs(module: nn.CrossEntropyLoss, outputs: torch.Tensor, targets: torch.Tensor) -> Any:
    if targets.ndim == 2:
        return module(outputs.flatten(0, 1), targets.flatten())
    return module(outputs, targets)


def made(named: Any, module: nn.CrossEntropyLoss, targets: torch.Tensor) -> Loss:
    """The run's loss for data of which these are the targets."""
    has_ignored = bool((targets == module.ignore_index).any())
    ignored = module.ignore_index if has_ignored else None
    form = TargetForm(C, tuple(targets.shape[1:]), "int64", ignored)
    return run_loss(RunConfig(loss=named(module)), form, tuple(logits(targets).shape[1:]))


@pytest.mark.parametrize("ignored", [None, -100, 255, 0])
@pytest.mark.parametrize("shape", PLACES)
@pytest.mark.parametrize("module", MODULES, ids=str)
def test_loss_and_gradient_equal_torchs_bit_for_bit(
    named: Any, module: nn.CrossEntropyLoss, shape: tuple[int, ...], ignored: int | None
) -> None:
    module = nn.CrossEntropyLoss(
        weight=module.weight,
        label_smoothing=module.label_smoothing,
        ignore_index=-100 if ignored is None else ignored,
    )
    targets = labels(*shape, ignored=ignored)
    outputs = logits(targets).requires_grad_()
    expected = torchs(module, outputs, targets)
    expected.backward()
    loss = made(named, module, targets)
    loss.check_outputs(outputs, targets)
    value, gradient = loss.gradient(outputs.detach(), targets)
    assert value == expected.item()
    assert torch.equal(gradient, outputs.grad)  # type: ignore[arg-type]
    assert loss.mean(outputs, targets).item() == value
    score = loss.score(outputs.detach(), targets)
    assert score.means["loss"] == pytest.approx(expected.item(), rel=1e-5)
    counted = targets != module.ignore_index
    assert score.num_samples == int(counted.sum())


@pytest.mark.parametrize("shape", PLACES)
@pytest.mark.parametrize("module", MODULES, ids=str)
@pytest.mark.parametrize("dim", [0, 1])
def test_gradients_of_samples_are_the_batchs_by_as_many(
    named: Any, module: nn.CrossEntropyLoss, shape: tuple[int, ...], dim: int
) -> None:
    """Of a readout, whose outputs are rows; so a synthesizer predicts the mean loss's gradient."""
    targets = labels(*shape, ignored=-100)
    loss = made(named, module, targets)
    num_dims = loss.sample_dims(targets)
    rows = targets.flatten(0, num_dims - 1)
    outputs = random(len(rows), loss.readout_size)
    shaped = outputs.reshape(*targets.shape[:num_dims], *loss.output_shape)
    reference = loss.gradient(shaped, targets)[1].reshape(outputs.shape) * len(rows)
    given = outputs if dim == 1 else outputs.t().contiguous()
    found = loss.sample_gradients(given.clone(), rows, dim=dim)
    torch.testing.assert_close(found if dim == 1 else found.t(), reference)


@pytest.mark.parametrize("shape", PLACES)
@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_batch_in_which_nothing_counts_gives_no_gradient(
    named: Any, module: nn.CrossEntropyLoss, shape: tuple[int, ...]
) -> None:
    targets = torch.full(shape, -100)
    loss, outputs = made(named, module, targets), logits(targets)
    value, gradient = loss.gradient(outputs, targets)
    assert (value, loss.weight(targets), gradient.abs().sum().item()) == (0, 0, 0)
    assert loss.score(outputs, targets).means == {}
    rows = targets.flatten(0, loss.sample_dims(targets) - 1)
    readout = random(len(rows), loss.readout_size)
    assert loss.sample_gradients(readout, rows, dim=1).abs().sum().item() == 0


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_weights_of_batches_make_their_means_that_of_all(
    named: Any, module: nn.CrossEntropyLoss
) -> None:
    targets = labels(12, ignored=-100)
    outputs, loss = logits(targets), made(named, module, targets)
    parts = [(outputs[:5], targets[:5]), (outputs[5:], targets[5:])]
    weighed = [(loss.gradient(*part)[0], loss.weight(part[1])) for part in parts]
    mean = sum(value * weight for value, weight in weighed) / sum(w for _, w in weighed)
    expected = loss.gradient(outputs, targets)[0]
    assert mean == pytest.approx(expected, rel=1e-5)
    whole = add_scores([loss.score(*part) for part in parts])
    assert whole.means["loss"] == pytest.approx(expected, rel=1e-5)


def test_plain_labels_stay_on_the_fast_path(named: Any) -> None:
    config, form = RunConfig(), TargetForm(C)
    assert isinstance(run_loss(config, form), CrossEntropy)
    assert isinstance(run_loss(config, TargetForm(C, (7,)), (7, C)), CrossEntropy)
    assert isinstance(made(named, MODULES[0], labels(4, ignored=None)), CrossEntropy)


def test_classes_behind_the_batch_where_positions_are_last() -> None:
    """Outputs [B, C, T], as a convolution over time gives them and torch takes them."""
    targets = labels(4, 7, ignored=None)
    outputs = random(4, C, 7)
    loss = run_loss(RunConfig(), TargetForm(C, (7,)), (C, 7))
    loss.check_outputs(outputs, targets)
    assert loss.gradient(outputs, targets)[0] == functional.cross_entropy(outputs, targets).item()
    assert (loss.sample_dims(targets), loss.readout_size) == (1, C * 7)


def test_what_does_not_fit_is_one_sentence(named: Any) -> None:
    pixels = run_loss(RunConfig(), TargetForm(C, (4, 6)), (C, 4, 6))
    with pytest.raises(
        ConfigError, match=re.escape("is [3, 4, 6, 5], needs [3, at least 5, 4, 6]")
    ):
        pixels.check_outputs(random(3, 4, 6, C), labels(3, 4, 6, ignored=None))
    weighted = made(named, nn.CrossEntropyLoss(weight=WEIGHTS), labels(4, ignored=None))
    with pytest.raises(ConfigError, match="has weights of 5 classes, but the model gives 6 logits"):
        weighted.check_outputs(random(4, 6), labels(4, ignored=None))
    with pytest.raises(ConfigError, match="cross-entropy takes class labels; for numbers name"):
        run_loss(RunConfig(), TargetForm(0, (3,), "float32"))
