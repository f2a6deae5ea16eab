"""Input synthesizers: one update equals autograd's, and what they learn is the stage below."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from dni_async import LinkError
from dni_async.stage.descent.optimizers import Optimizer, Sgd
from dni_async.synthesizers.input_synthesizer import InputSynthesizer, make_input_synthesizer

CPU = torch.device("cpu")


def plain(parameters: list[torch.Tensor]) -> Optimizer:
    """An update subtracts the gradient itself."""
    return Sgd(parameters, lr=1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("input_shape", [(5,), (2, 3, 4)])
def test_one_update_is_the_gradient_of_the_mean_squared_error(
    input_shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    synthesizer = InputSynthesizer((3, 2), input_shape, plain, hidden_units=7)
    samples = torch.randn(4, 3, 2)
    activation = torch.randn(4, *input_shape).to(dtype)
    before = [p.detach().clone().requires_grad_() for p in synthesizer.network.parameters()]
    hidden = functional.relu(samples.flatten(1) @ before[0].t() + before[1])
    prediction = (hidden @ before[2].t() + before[3]).view(4, *input_shape)
    predicted = synthesizer.predict(samples)
    assert not predicted.requires_grad
    torch.testing.assert_close(predicted, prediction.detach())
    loss = functional.mse_loss(prediction, activation.float())
    gradients = torch.autograd.grad(loss, before)
    synthesizer.learn(samples, activation)
    for old, new, gradient in zip(before, synthesizer.network.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, old - gradient)


def test_it_learns_what_the_stage_below_makes_of_samples() -> None:
    torch.manual_seed(0)
    below = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
    synthesizer = make_input_synthesizer((8,), (6,), CPU)
    unseen = torch.randn(256, 8)
    with torch.no_grad():
        wanted = below(unseen)
        for _ in range(300):
            samples = torch.randn(64, 8)
            synthesizer.learn(samples, below(samples))
    error = functional.mse_loss(synthesizer.predict(unseen), wanted)
    assert error < 0.05 * wanted.var()


@pytest.mark.parametrize("shape", [(4, 6), (3, 5), (4, 5, 1)])
def test_an_activation_that_does_not_fit_is_a_link_error(shape: tuple[int, ...]) -> None:
    synthesizer = make_input_synthesizer((8,), (5,), CPU)
    message = f"the activation is {list(shape)}, but the samples make [4, 5]"
    with pytest.raises(LinkError, match=re.escape(message)):
        synthesizer.learn(torch.zeros(4, 8), torch.zeros(shape))
