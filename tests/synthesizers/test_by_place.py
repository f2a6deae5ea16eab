"""A critic of maps: the gradient of the run's loss at one readout for all places."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.stage.descent.optimizers import Sgd
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.readout import readout_of
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.by_place import ByPlaceSynthesizer
from dni_async.synthesizers.conv import ConvSynthesizer
from dni_async.synthesizers.linear import LinearSynthesizer
from dni_async.synthesizers.making import make_synthesizer
from tests.stage.test_stage import random

CPU = torch.device("cpu")
PIXELS = run_loss(RunConfig(), TargetForm(3, (6, 8), "int64", -100), (3, 6, 8))
IMAGES = run_loss(RunConfig(loss="huber"), TargetForm(0, (2, 6, 8), "float32"))
SERIES = run_loss(RunConfig(loss="mse"), TargetForm(0, (5, 2), "float32"))


def targets_of(loss: Loss) -> torch.Tensor:
    if loss is not PIXELS:
        return random(4, *loss.output_shape, seed=3)
    labels = torch.arange(4 * 48).reshape(4, 6, 8) % 3
    labels[:, 2:4, 5] = -100
    return labels


def made_for(shape: tuple[int, ...], loss: Loss, **settings: Any) -> ByPlaceSynthesizer:
    """With parameters drawn at random, whose updates subtract the gradient itself."""
    made = make_synthesizer(RunConfig(**settings), shape, loss, CPU)
    assert isinstance(made, ByPlaceSynthesizer)
    inner: Any = made._inner
    inner._readout_optimizer = Sgd(made.parameters[:-1], lr=1.0)
    inner._correction_optimizer = Sgd(made.parameters[-1:], lr=1.0)
    with torch.no_grad():
        for seed, parameter in enumerate(made.parameters):
            parameter.copy_(random(*parameter.shape, seed=10 + seed))
    return made


CASES = [
    (PIXELS, (5, 6, 8)),  # as fine as the outputs
    (PIXELS, (5, 3, 4)),  # coarser
    (PIXELS, (5, 12, 16)),  # finer
    (PIXELS, (5, 4, 5)),  # neither a part nor a multiple
    (IMAGES, (5, 3, 4)),
    (SERIES, (5, 7)),
]


@pytest.mark.parametrize(("loss", "shape"), CASES)
def test_it_is_the_gradient_of_its_own_loss_and_learns_by_it(
    loss: Loss, shape: tuple[int, ...]
) -> None:
    made, targets = made_for(shape, loss), targets_of(loss)
    hidden = random(4, *shape).requires_grad_()
    weight, bias = (p.detach().clone().requires_grad_() for p in made.parameters[:2])
    made.parameters[2].zero_()
    if loss is SERIES:
        outputs = hidden @ weight.t() + bias
    else:
        maps = functional.conv2d(hidden, weight[:, :, None, None], bias)
        outputs = functional.adaptive_avg_pool2d(maps, loss.output_shape[1:])
    value = loss.mean(outputs, targets)
    wanted, *taught = torch.autograd.grad(value, [hidden, weight, bias])
    found = made.predict(hidden.detach(), targets)
    torch.testing.assert_close(found / 4, wanted, rtol=1e-4, atol=1e-6)
    for before, gradient, now in zip((weight, bias), taught, made.parameters[:2], strict=True):
        torch.testing.assert_close(before - now, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("loss", "shape"), CASES)
@pytest.mark.parametrize("layers", [0, 1])
def test_returned_gradients_bend_it_towards_them(
    loss: Loss, shape: tuple[int, ...], layers: int
) -> None:
    torch.manual_seed(0)
    config = RunConfig(synthesizer_layers=layers, synthesizer_width=6 if layers else None)
    made = make_synthesizer(config, shape, loss, CPU)
    boundary = Boundary(lambda _: made, loss)
    hidden, targets = random(4, *shape), targets_of(loss)
    returned = random(4, *shape, seed=5) * 1e-3
    errors = []
    for _ in range(2):
        for _ in range(20):
            boundary.learn(hidden, targets, returned)
        errors.append(boundary.comparison.take().relative_error)
    assert errors[1] < errors[0]
    assert boundary.predict(hidden, targets).shape == hidden.shape  # type: ignore[union-attr]


def test_maps_of_another_size_need_no_other_synthesizer() -> None:
    made = made_for((5, 6, 8), PIXELS)
    labels = torch.zeros(2, 10, 4, dtype=torch.int64)
    assert made.predict(random(2, 5, 5, 2), labels).shape == (2, 5, 5, 2)


def test_the_readout_goes_by_the_shapes() -> None:
    assert readout_of((5, 3, 4), PIXELS) == "by place"
    assert readout_of((40,), PIXELS) == "whole"
    assert readout_of((5, 7), SERIES) == "by place"
    assert readout_of((4, 7), SERIES) == "whole"
    large = run_loss(RunConfig(loss="mse"), TargetForm(0, (3, 64, 64), "float32"))
    assert readout_of((5, 8, 8), large) == "by place"
    assert readout_of((40,), large) is None
    labels = run_loss(RunConfig(), TargetForm(3))
    assert readout_of((5, 3, 4), labels) == "whole"


def test_where_nothing_can_be_read_out_returned_gradients_teach() -> None:
    flat = run_loss(RunConfig(loss="mse"), TargetForm(0, (9999,), "float32"))
    assert isinstance(make_synthesizer(RunConfig(), (40,), flat, CPU), LinearSynthesizer)
    own = RunConfig(model="a.module:network")
    assert isinstance(make_synthesizer(own, (2, 3, 4), flat, CPU), ConvSynthesizer)
