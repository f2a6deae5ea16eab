"""Synthesizers: gradients written out by hand equal autograd's, and learning helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from dni_async import RunConfig
from dni_async.optimizers import Adam, Optimizer, Sgd
from dni_async.synthesizers import (
    CriticSynthesizer,
    LinearSynthesizer,
    MlpSynthesizer,
    Synthesizer,
    make_synthesizer,
)

NUM_UNITS, NUM_CLASSES, NUM_SAMPLES = 6, 3, 5


def plain(parameters: list[torch.Tensor]) -> Optimizer:
    """An update subtracts the gradient itself."""
    return Sgd(parameters, lr=1.0)


def random_task(num_samples: int = NUM_SAMPLES) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Activations, labels, and the per-sample gradient of a fixed linear head's loss."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(num_samples, NUM_UNITS, generator=generator)
    labels = torch.randint(NUM_CLASSES, (num_samples,), generator=generator)
    head = torch.randn(NUM_CLASSES, NUM_UNITS, generator=generator)
    error = torch.softmax(hidden @ head.t(), 1) - functional.one_hot(labels, NUM_CLASSES)
    return hidden, labels, error @ head


def shuffled(synthesizer: Any) -> Any:
    """The same synthesizer with random parameters."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in synthesizer.parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return synthesizer


def copies(synthesizer: Synthesizer) -> list[torch.Tensor]:
    """Its parameters, for autograd."""
    return [p.detach().clone().requires_grad_() for p in synthesizer.parameters]


def steps(before: list[torch.Tensor], synthesizer: Synthesizer) -> list[torch.Tensor]:
    """What the update subtracted from each parameter."""
    return [b.detach() - a.detach() for b, a in zip(before, synthesizer.parameters, strict=True)]


def assert_close(mine: list[torch.Tensor], reference: list[torch.Tensor]) -> None:
    """Equal up to rounding."""
    for m, r in zip(mine, reference, strict=True):
        torch.testing.assert_close(m, r, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_labels", [0, NUM_CLASSES])
def test_linear_learns_by_the_gradient_of_the_squared_error(num_labels: int) -> None:
    hidden, labels, target = random_task()
    synthesizer = shuffled(LinearSynthesizer(NUM_UNITS, num_labels, plain))
    before = copies(synthesizer)
    prediction = hidden @ before[0] + before[1]
    if num_labels:
        prediction = prediction + before[2][labels]
    torch.testing.assert_close(synthesizer.predict(hidden, labels), prediction.detach())
    reference = torch.autograd.grad(functional.mse_loss(prediction, target), before)
    synthesizer.learn(hidden, labels, target)
    assert_close(steps(before, synthesizer), list(reference))


def test_critic_without_correction_is_the_gradient_of_its_own_loss() -> None:
    hidden, labels, _ = random_task()
    synthesizer = shuffled(CriticSynthesizer(NUM_UNITS, NUM_CLASSES, plain))
    synthesizer.correction.zero_()
    weight, bias, _ = before = copies(synthesizer)
    inputs = hidden.clone().requires_grad_()
    logits = inputs @ weight.t() + bias
    (reference,) = torch.autograd.grad(
        functional.cross_entropy(logits, labels, reduction="sum"), inputs, retain_graph=True
    )
    mean_loss = functional.cross_entropy(logits, labels)
    classifier_steps = torch.autograd.grad(mean_loss, [weight, bias])
    prediction = synthesizer.predict(hidden, labels)
    torch.testing.assert_close(prediction, reference)
    assert_close(steps(before, synthesizer), [*classifier_steps, torch.zeros_like(weight)])


def test_critic_corrects_itself_by_the_gradient_of_the_squared_error() -> None:
    hidden, labels, target = random_task()
    synthesizer = shuffled(CriticSynthesizer(NUM_UNITS, NUM_CLASSES, plain))
    weight, bias, correction = before = copies(synthesizer)
    error = torch.softmax(hidden @ weight.t() + bias, 1) - functional.one_hot(labels, NUM_CLASSES)
    loss = functional.mse_loss(error @ (weight + correction), target)
    (reference,) = torch.autograd.grad(loss, correction)
    synthesizer.learn(hidden, labels, target)
    zero, zeros = torch.zeros_like(weight), torch.zeros_like(bias)
    assert_close(steps(before, synthesizer), [zero, zeros, reference])


def test_critic_predicts_with_its_correction() -> None:
    hidden, labels, _ = random_task()
    synthesizer = shuffled(CriticSynthesizer(NUM_UNITS, NUM_CLASSES, plain))
    weight, bias, correction = (p.clone() for p in synthesizer.parameters)
    error = torch.softmax(hidden @ weight.t() + bias, 1) - functional.one_hot(labels, NUM_CLASSES)
    torch.testing.assert_close(synthesizer.predict(hidden, labels), error @ (weight + correction))


@pytest.mark.parametrize("num_labels", [0, NUM_CLASSES])
def test_mlp_learns_by_the_gradient_of_the_squared_error(num_labels: int) -> None:
    hidden, labels, target = random_task()
    synthesizer = shuffled(MlpSynthesizer(NUM_UNITS, num_labels, plain))
    before = copies(synthesizer)
    inputs = hidden
    if num_labels:
        inputs = torch.cat([hidden, functional.one_hot(labels, num_labels).float()], 1)
    names = [name for name, _ in synthesizer.network.named_parameters()]
    prediction = torch.func.functional_call(
        synthesizer.network, dict(zip(names, before, strict=True)), (inputs,)
    )
    reference = torch.autograd.grad(functional.mse_loss(prediction, target), before)
    synthesizer.learn(hidden, labels, target)
    for mine, its in zip(steps(before, synthesizer), reference, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-5)


def linear(optimize: Callable[[list[torch.Tensor]], Optimizer]) -> Synthesizer:
    """Conditioned on the label."""
    return LinearSynthesizer(NUM_UNITS, NUM_CLASSES, optimize)


def mlp(optimize: Callable[[list[torch.Tensor]], Optimizer]) -> Synthesizer:
    """Conditioned on the label."""
    return MlpSynthesizer(NUM_UNITS, NUM_CLASSES, optimize)


def critic(optimize: Callable[[list[torch.Tensor]], Optimizer]) -> Synthesizer:
    """Always sees the label."""
    return CriticSynthesizer(NUM_UNITS, NUM_CLASSES, optimize)


@pytest.mark.parametrize("make", [linear, mlp])
def test_the_first_prediction_is_zero(make: Callable[[Any], Synthesizer]) -> None:
    """So that a stage does not move before its synthesizer has learnt anything."""
    hidden, labels, _ = random_task()
    assert torch.equal(make(plain).predict(hidden, labels), torch.zeros_like(hidden))


def test_the_first_prediction_of_a_critic_is_not_zero() -> None:
    """Its classifier begins where a layer would, so that the first batches teach something."""
    hidden, labels, _ = random_task()
    assert critic(plain).predict(hidden, labels).abs().min() > 0


@pytest.mark.parametrize("make", [linear, mlp, critic])
def test_learning_reduces_the_error(make: Callable[[Any], Synthesizer]) -> None:
    torch.manual_seed(0)
    hidden, labels, target = random_task(num_samples=64)
    synthesizer = make(lambda parameters: Adam(parameters, lr=0.03))
    errors = []
    for _ in range(60):
        prediction = synthesizer.predict(hidden, labels)
        errors.append(functional.mse_loss(prediction, target).item())
        synthesizer.learn(hidden, labels, target)
    assert errors[-1] < 0.6 * errors[0]


@pytest.mark.parametrize("make", [linear, mlp, critic])
def test_a_batch_of_one_sample(make: Callable[[Any], Synthesizer]) -> None:
    hidden, labels, target = random_task(num_samples=1)
    synthesizer = make(plain)
    synthesizer.learn(hidden, labels, target)
    prediction = synthesizer.predict(hidden, labels)
    assert prediction.shape == (1, NUM_UNITS)
    assert torch.isfinite(prediction).all()


@pytest.mark.parametrize("make", [linear, mlp, critic])
def test_predictions_carry_no_graph(make: Callable[[Any], Synthesizer]) -> None:
    hidden, labels, _ = random_task()
    assert not make(plain).predict(hidden.requires_grad_(), labels).requires_grad


@pytest.mark.parametrize("synthesizer_type", [LinearSynthesizer, MlpSynthesizer])
def test_unconditioned_predictions_ignore_the_labels(synthesizer_type: Any) -> None:
    hidden, labels, _ = random_task()
    synthesizer = shuffled(synthesizer_type(NUM_UNITS, 0, plain))
    other = (labels + 1) % NUM_CLASSES
    first, second = (synthesizer.predict(hidden, y) for y in (labels, other))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [linear, mlp, critic])
def test_conditioned_predictions_heed_the_labels(make: Callable[[Any], Synthesizer]) -> None:
    hidden, labels, _ = random_task()
    synthesizer = shuffled(make(lambda parameters: Sgd(parameters, lr=1e-9)))
    other = (labels + 1) % NUM_CLASSES
    first, second = (synthesizer.predict(hidden, y) for y in (labels, other))
    assert (first - second).abs().max() > 0.01


@pytest.mark.parametrize(
    ("config", "kind", "num_parameters"),
    [
        (RunConfig(synthesizer="critic"), CriticSynthesizer, 3),
        (RunConfig(synthesizer="linear"), LinearSynthesizer, 3),
        (RunConfig(synthesizer="linear", label_conditioning=False), LinearSynthesizer, 2),
        (RunConfig(synthesizer="mlp"), MlpSynthesizer, 10),
        (RunConfig(synthesizer="mlp", label_conditioning=False), MlpSynthesizer, 10),
    ],
)
def test_a_config_names_its_synthesizer(config: RunConfig, kind: type, num_parameters: int) -> None:
    synthesizer = make_synthesizer(config, NUM_UNITS, NUM_CLASSES, torch.device("cpu"))
    hidden, labels, target = random_task()
    assert type(synthesizer) is kind
    assert len(synthesizer.parameters) == num_parameters
    synthesizer.learn(hidden, labels, target)
    assert synthesizer.predict(hidden, labels).shape == hidden.shape


@pytest.mark.parametrize(("synthesizer_lr", "moved"), [(None, 1e-3), (0.25, 0.25)])
def test_the_rate_of_a_synthesizer(synthesizer_lr: float | None, moved: float) -> None:
    """Adam's first update moves every weight by the rate itself, whatever the stage's is."""
    config = RunConfig(synthesizer="linear", lr=0.5, synthesizer_lr=synthesizer_lr)
    synthesizer = make_synthesizer(config, NUM_UNITS, NUM_CLASSES, torch.device("cpu"))
    hidden, labels, target = random_task()
    synthesizer.learn(hidden, labels, target)
    bias = synthesizer.parameters[1]
    torch.testing.assert_close(bias.abs(), torch.full_like(bias, moved))
