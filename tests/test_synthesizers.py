"""Synthesizers: gradients written out by hand equal autograd's, and learning helps."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from dni_async import ConfigError, RunConfig
from dni_async.config.names import SYNTHESIZERS
from dni_async.stage.descent.optimizers import Adam, Optimizer, Sgd
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.losses.interface import Encoding
from dni_async.synthesizers.conv import ConvSynthesizer
from dni_async.synthesizers.correction import Correction
from dni_async.synthesizers.critic import CriticSynthesizer
from dni_async.synthesizers.deep_critic import DeepCriticSynthesizer
from dni_async.synthesizers.interface import Synthesizer
from dni_async.synthesizers.linear import LinearSynthesizer
from dni_async.synthesizers.making import make_synthesizer
from dni_async.synthesizers.mlp import MlpSynthesizer
from dni_async.synthesizers.pooled import PooledSynthesizer

NUM_UNITS, NUM_CLASSES, NUM_SAMPLES = 6, 3, 5
LOSS = make_loss("cross-entropy", (NUM_CLASSES,))
IMAGE = (2, 4, 5)  # the shape of an activation of convolutions


def plain(parameters: list[torch.Tensor]) -> Optimizer:
    """An update subtracts the gradient itself."""
    return Sgd(parameters, lr=1.0)


def corrects(critic: Any, is_used: bool = True) -> Any:
    """The same critic, which adds its correction or does not."""
    *_, standing = critic.correction.parameters
    standing[2] = float(is_used)
    return critic


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
        if hasattr(synthesizer, "is_corrected"):
            synthesizer.parameters[-3].zero_()  # no sum of squares is random
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


@pytest.mark.parametrize("encoding", [None, LOSS.encoding])
def test_linear_learns_by_the_gradient_of_the_squared_error(encoding: Encoding | None) -> None:
    hidden, labels, target = random_task()
    synthesizer = shuffled(LinearSynthesizer(NUM_UNITS, encoding, plain))
    before = copies(synthesizer)
    prediction = hidden @ before[0] + before[1]
    if encoding:
        prediction = prediction + before[2][labels]
    torch.testing.assert_close(synthesizer.predict(hidden, labels), prediction.detach())
    reference = torch.autograd.grad(functional.mse_loss(prediction, target), before)
    synthesizer.learn(hidden, labels, target)
    assert_close(steps(before, synthesizer), list(reference))


def test_critic_without_correction_is_the_gradient_of_its_own_loss() -> None:
    hidden, labels, _ = random_task()
    synthesizer = corrects(shuffled(CriticSynthesizer(NUM_UNITS, LOSS, plain)), False)
    weight, bias, *_ = before = copies(synthesizer)
    inputs = hidden.clone().requires_grad_()
    logits = inputs @ weight.t() + bias
    (reference,) = torch.autograd.grad(
        functional.cross_entropy(logits, labels, reduction="sum"), inputs, retain_graph=True
    )
    mean_loss = functional.cross_entropy(logits, labels)
    classifier_steps = torch.autograd.grad(mean_loss, [weight, bias])
    prediction = synthesizer.predict(hidden, labels)
    torch.testing.assert_close(prediction, reference)
    unmoved = [torch.zeros_like(each) for each in before[2:]]
    assert_close(steps(before, synthesizer), [*classifier_steps, *unmoved])


@pytest.mark.parametrize("is_used", [False, True])
def test_critic_learns_what_its_own_gradient_lacks(is_used: bool) -> None:
    hidden, labels, target = random_task()
    synthesizer = corrects(CriticSynthesizer(NUM_UNITS, LOSS, plain), is_used)
    weight, bias, matrix, *_ = (each.clone() for each in synthesizer.parameters)
    error = torch.softmax(hidden @ weight.t() + bias, 1) - functional.one_hot(labels, NUM_CLASSES)
    own = error @ weight
    given = synthesizer.learn(hidden, labels, target)
    torch.testing.assert_close(given, own + error @ matrix * is_used)
    assert torch.equal(synthesizer.weight, weight)
    assert torch.equal(synthesizer.bias, bias)
    twin = Correction(NUM_CLASSES, NUM_UNITS)
    twin.learn(error.t(), own, target)
    torch.testing.assert_close(synthesizer.correction.matrix, twin.matrix)


@pytest.mark.parametrize("layers", [0, 1])
def test_a_readout_of_numbers_is_the_gradient_of_its_own_squared_error(layers: int) -> None:
    loss = make_loss("mse", (2,))
    config = RunConfig(synthesizer_layers=layers, synthesizer_width=4 if layers else None)
    made: Any = make_synthesizer(config, (NUM_UNITS,), loss, torch.device("cpu"))
    corrects(shuffled(made))
    hidden, _, _ = random_task()
    targets = torch.randn(NUM_SAMPLES, 2, generator=torch.Generator().manual_seed(4))
    inputs, *before = hidden.clone().requires_grad_(), *copies(made)
    weights, correction = before[:-4], before[-4]
    if layers:
        scale, shift, first, first_bias, last, last_bias = weights
        normed = functional.layer_norm(inputs, (NUM_UNITS,), scale, shift)
        outputs = functional.gelu(normed @ first.t() + first_bias) @ last.t() + last_bias
    else:
        outputs = inputs @ weights[0].t() + weights[1]
    of_samples = (outputs - targets).square().mean(1)
    (own,) = torch.autograd.grad(of_samples.sum(), inputs, retain_graph=True)
    error = (outputs - targets).detach()  # 2 / 2 of it: a mean of two squares
    gradient = own + error @ correction
    made._readout_optimizer = plain(made.parameters[:-4])
    torch.testing.assert_close(made.predict(hidden, targets), gradient.detach())
    taught = torch.autograd.grad(of_samples.mean(), weights)
    for weight, step, now in zip(weights, taught, made.parameters[:-4], strict=True):
        torch.testing.assert_close(weight - now, step, rtol=1e-4, atol=1e-6)


class DeepCritic:
    """A critic with one hidden layer, and by autograd what it should give for a task."""

    def __init__(self, hidden: torch.Tensor, labels: torch.Tensor) -> None:
        made = shuffled(DeepCriticSynthesizer(NUM_UNITS, LOSS, plain, width=4))
        self.made = corrects(made)
        self.before = copies(self.made)
        network, self.correction = self.before[:-4], self.before[-4]
        scale, shift, first, first_bias, last, last_bias = network
        inputs = hidden.clone().requires_grad_()
        normal = functional.layer_norm(inputs, inputs.shape[1:], scale, shift)
        logits = functional.gelu(normal @ first.t() + first_bias) @ last.t() + last_bias
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        own, *self.network_gradients = torch.autograd.grad(loss, [inputs, *network])
        self.own = own.detach()
        self.error = torch.softmax(logits.detach(), 1) - functional.one_hot(labels, NUM_CLASSES)
        self.synthetic = own + self.error @ self.correction


def test_deep_critic_predicts_the_gradient_of_its_own_loss_with_its_correction() -> None:
    hidden, labels, _ = random_task()
    critic = DeepCritic(hidden, labels)
    torch.testing.assert_close(critic.made.predict(hidden, labels), critic.synthetic.detach())
    mean = [each / NUM_SAMPLES for each in critic.network_gradients]
    unmoved = [torch.zeros_like(each) for each in critic.before[-4:]]
    assert_close(steps(critic.before, critic.made), [*mean, *unmoved])


def test_deep_critic_learns_what_its_own_gradient_lacks() -> None:
    hidden, labels, target = random_task()
    critic, twin = DeepCritic(hidden, labels), Correction(NUM_CLASSES, NUM_UNITS)
    for mine, its in zip(twin.parameters, critic.made.correction.parameters, strict=True):
        mine.copy_(its)
    given = critic.made.learn(hidden, labels, target)
    torch.testing.assert_close(given, critic.synthetic.detach())
    twin.learn(critic.error.t(), critic.own, target)
    assert_close(critic.made.correction.parameters, twin.parameters)
    for mine, its in zip(critic.made.parameters[:-4], critic.before[:-4], strict=True):
        assert torch.equal(mine, its)


def test_critic_predicts_with_its_correction() -> None:
    hidden, labels, _ = random_task()
    synthesizer = corrects(shuffled(CriticSynthesizer(NUM_UNITS, LOSS, plain)))
    weight, bias, correction, *_ = (p.clone() for p in synthesizer.parameters)
    error = torch.softmax(hidden @ weight.t() + bias, 1) - functional.one_hot(labels, NUM_CLASSES)
    torch.testing.assert_close(synthesizer.predict(hidden, labels), error @ (weight + correction))


def test_critic_of_fewer_digits_predicts_and_learns_the_same_but_for_those() -> None:
    hidden, labels, _ = random_task()
    hidden = hidden.bfloat16()
    synthesizer = corrects(shuffled(CriticSynthesizer(NUM_UNITS, LOSS, plain)))
    twin = copy.deepcopy(synthesizer)
    before = copies(synthesizer)
    found, wanted = synthesizer.predict(hidden, labels), twin.predict(hidden.float(), labels)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=0.05, atol=0.02)
    for mine, its in zip(steps(before, synthesizer), steps(before, twin), strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, its, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("encoding", [None, LOSS.encoding])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_mlp_learns_by_the_gradient_of_the_squared_error(
    encoding: Encoding | None, layers: int
) -> None:
    hidden, labels, target = random_task()
    synthesizer = shuffled(MlpSynthesizer(NUM_UNITS, encoding, plain, layers=layers, width=16))
    assert len(synthesizer.parameters) == 4 * layers + 2
    before = copies(synthesizer)
    inputs = hidden
    if encoding:
        inputs = torch.cat([hidden, functional.one_hot(labels, NUM_CLASSES).float()], 1)
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
    return LinearSynthesizer(NUM_UNITS, LOSS.encoding, optimize)


def mlp(optimize: Callable[[list[torch.Tensor]], Optimizer]) -> Synthesizer:
    """Conditioned on the label."""
    return MlpSynthesizer(NUM_UNITS, LOSS.encoding, optimize)


def critic(optimize: Callable[[list[torch.Tensor]], Optimizer]) -> Synthesizer:
    """Always sees the label."""
    return CriticSynthesizer(NUM_UNITS, LOSS, optimize)


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
    synthesizer = shuffled(synthesizer_type(NUM_UNITS, None, plain))
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


# --- images ------------------------------------------------------------------------------------


def image_task(num_samples: int = NUM_SAMPLES) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Activations of convolutions, labels, and the gradient of a loss on all their places."""
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(num_samples, *IMAGE, generator=generator)
    labels = torch.randint(NUM_CLASSES, (num_samples,), generator=generator)
    head = torch.randn(NUM_CLASSES, hidden[0].numel(), generator=generator) / 4
    error = torch.softmax(hidden.flatten(1) @ head.t(), 1)
    error -= functional.one_hot(labels, NUM_CLASSES)
    return hidden, labels, (error @ head).view(hidden.shape)


def conv(optimize: Callable[[list[torch.Tensor]], Optimizer]) -> Synthesizer:
    """Conditioned on the label."""
    return ConvSynthesizer(IMAGE, LOSS.encoding, optimize)


def pooled(optimize: Callable[[list[torch.Tensor]], Optimizer]) -> Synthesizer:
    """A critic on four regions."""
    return PooledSynthesizer(IMAGE, 2, lambda n: CriticSynthesizer(n, LOSS, optimize))


def flat_critic(optimize: Callable[[list[torch.Tensor]], Optimizer]) -> Synthesizer:
    """A critic on every place."""
    return CriticSynthesizer(2 * 4 * 5, LOSS, optimize)


@pytest.mark.parametrize("encoding", [None, LOSS.encoding])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_conv_learns_by_the_gradient_of_the_squared_error(
    encoding: Encoding | None, layers: int
) -> None:
    """With a bias for each label at every filter of the first convolution."""
    hidden, labels, target = image_task()
    synthesizer = shuffled(ConvSynthesizer(IMAGE, encoding, plain, layers=layers, width=3))
    before = copies(synthesizer)
    weights = list(before)
    bias = weights.pop()[labels][:, :, None, None] if encoding else torch.zeros(())
    outputs = functional.conv2d(hidden, weights.pop(0), weights.pop(0), padding=2) + bias
    for _ in range(layers):
        normed = functional.batch_norm(
            outputs, None, None, weights.pop(0), weights.pop(0), training=True
        )
        outputs = functional.conv2d(normed.relu(), weights.pop(0), weights.pop(0), padding=2)
    assert weights == []
    torch.testing.assert_close(synthesizer.predict(hidden, labels), outputs.detach())
    reference = torch.autograd.grad(functional.mse_loss(outputs, target), before)
    synthesizer.learn(hidden, labels, target)
    for mine, its in zip(steps(before, synthesizer), reference, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-5)


def test_a_labels_bias_is_a_plane_of_ones_but_for_the_border() -> None:
    """Within the border the fifth row and column on, a plane meets every weight of the filter."""
    hidden, labels, _ = image_task()
    hidden = torch.nn.functional.pad(hidden, (3, 3, 3, 3))
    synthesizer = shuffled(ConvSynthesizer(IMAGE, LOSS.encoding, plain, layers=0))
    weight, bias, code_bias = synthesizer.parameters
    plane = (code_bias.t() / 25)[:, :, None, None].expand(-1, -1, 5, 5)
    planes = functional.one_hot(labels, NUM_CLASSES).float()[:, :, None, None]
    inputs = torch.cat([hidden, planes.expand(-1, -1, *hidden.shape[2:])], 1)
    expected = functional.conv2d(inputs, torch.cat([weight, plane], 1), bias, padding=2)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    predicted = synthesizer.predict(hidden, labels)
    torch.testing.assert_close(predicted[inner], expected[inner].detach())


def test_a_pooled_critic_is_the_gradient_of_a_loss_on_the_means() -> None:
    hidden, labels, _ = image_task()
    synthesizer = shuffled(pooled(plain))
    *_, standing = synthesizer.parameters
    standing[2] = 1.0  # it corrects itself
    weight, bias, correction, *_ = (p.clone() for p in synthesizer.parameters)
    inputs = hidden.clone().requires_grad_()
    means = torch.stack(
        [inputs[:, :, i, j].mean((2, 3)) for i, j in REGIONS_OF_IMAGE],
        dim=2,
    ).flatten(1)
    logits = means @ weight.t() + bias
    error = torch.softmax(logits, 1) - functional.one_hot(labels, NUM_CLASSES)
    (reference,) = torch.autograd.grad(means, inputs, (error @ (weight + correction)).detach())
    torch.testing.assert_close(synthesizer.predict(hidden, labels), reference)


REGIONS_OF_IMAGE = [
    (rows, columns)
    for rows in (slice(0, 2), slice(2, 4))
    for columns in (slice(0, 3), slice(3, 5))  # five places: three and two
]


def test_a_pooled_critic_learns_the_nearest_gradient_that_is_even_over_regions() -> None:
    """Its target is the sum over each region: then the spread error is least."""
    hidden, labels, target = image_task()
    learnt: list[torch.Tensor] = []

    class Recorder(CriticSynthesizer):
        """Keeps what it is to learn."""

        def learn(self, hidden: torch.Tensor, labels: torch.Tensor, target: torch.Tensor) -> None:
            learnt.append(target)

    synthesizer = PooledSynthesizer(IMAGE, 2, lambda n: Recorder(n, LOSS, plain))
    synthesizer.learn(hidden, labels, target)
    gradient = learnt[0].view(NUM_SAMPLES, 2, 4)
    nearest = torch.empty_like(hidden)
    for index, (rows, columns) in enumerate(REGIONS_OF_IMAGE):
        region = target[:, :, rows, columns]
        nearest[:, :, rows, columns] = region.mean((2, 3), keepdim=True)
        torch.testing.assert_close(gradient[:, :, index], region.sum((2, 3)))
        spread = gradient[:, :, index, None, None] / region[0, 0].numel()
        torch.testing.assert_close(spread.expand_as(region), nearest[:, :, rows, columns])


@pytest.mark.parametrize(("grid", "num_regions"), [(1, 1), (2, 4), (4, 16), (9, 20)])
def test_there_are_no_more_regions_than_places(grid: int, num_regions: int) -> None:
    made: list[int] = []

    def make(num_units: int) -> Synthesizer:
        made.append(num_units)
        return CriticSynthesizer(num_units, LOSS, plain)

    hidden, labels, target = image_task()
    synthesizer = PooledSynthesizer(IMAGE, grid, make)
    synthesizer.learn(hidden, labels, target)
    assert synthesizer.predict(hidden, labels).shape == hidden.shape
    assert made == [2 * num_regions]


def test_a_critic_pooled_over_single_places_is_the_critic() -> None:
    hidden, labels, target = image_task()
    every = PooledSynthesizer(IMAGE, 5, lambda n: CriticSynthesizer(n, LOSS, plain))
    one, other = shuffled(flat_critic(plain)), shuffled(every)
    for _ in range(2):
        one.learn(hidden, labels, target)
        other.learn(hidden, labels, target)
        torch.testing.assert_close(other.predict(hidden, labels), one.predict(hidden, labels))


@pytest.mark.parametrize("make", [conv, pooled, flat_critic])
def test_learning_of_images_reduces_the_error(make: Callable[[Any], Synthesizer]) -> None:
    torch.manual_seed(0)
    hidden, labels, target = image_task(num_samples=64)
    synthesizer = make(lambda parameters: Adam(parameters, lr=0.03))
    errors = []
    for _ in range(60):
        prediction = synthesizer.predict(hidden, labels)
        errors.append(functional.mse_loss(prediction, target).item())
        synthesizer.learn(hidden, labels, target)
    assert errors[-1] < 0.9 * errors[0]


def test_the_first_prediction_of_conv_is_zero() -> None:
    hidden, labels, _ = image_task()
    for layers in (0, 2):
        made = ConvSynthesizer(IMAGE, LOSS.encoding, plain, layers=layers)
        assert torch.equal(made.predict(hidden, labels), torch.zeros_like(hidden))


def test_conv_passes_over_what_batch_norm_cannot_normalise() -> None:
    synthesizer = ConvSynthesizer((2, 1, 1), LOSS.encoding, plain)
    one, label = torch.ones(1, 2, 1, 1), torch.tensor([1])
    synthesizer.learn(one, label, one)
    assert torch.equal(synthesizer.predict(one, label), torch.zeros_like(one))
    linear_one = ConvSynthesizer((2, 1, 1), LOSS.encoding, plain, layers=0)
    linear_one.learn(one, label, one)
    assert linear_one.predict(one, label).abs().sum() > 0


# --- as a run names them -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "shape", "kind", "num_parameters"),
    [
        ({"synthesizer": "critic"}, IMAGE, PooledSynthesizer, 6),
        ({"synthesizer": "critic", "synthesizer_pool": 0}, IMAGE, CriticSynthesizer, 6),
        ({"synthesizer": "critic", "synthesizer_pool": 2}, IMAGE, PooledSynthesizer, 6),
        ({"synthesizer": "critic", "synthesizer_pool": 2}, (6,), CriticSynthesizer, 6),
        ({"synthesizer": "critic", "synthesizer_layers": 0}, (6,), CriticSynthesizer, 6),
        ({"synthesizer": "critic", "synthesizer_layers": 2}, (6,), DeepCriticSynthesizer, 12),
        ({"synthesizer": "critic", "synthesizer_layers": 1}, IMAGE, PooledSynthesizer, 10),
        ({"synthesizer": "linear"}, IMAGE, LinearSynthesizer, 3),
        ({"synthesizer": "mlp"}, IMAGE, MlpSynthesizer, 10),
        ({"synthesizer": "mlp", "synthesizer_layers": 0}, IMAGE, MlpSynthesizer, 2),
        ({"synthesizer": "conv", "model": "cnn"}, IMAGE, ConvSynthesizer, 11),
        (
            {"synthesizer": "conv", "model": "cnn", "synthesizer_layers": 1},
            IMAGE,
            ConvSynthesizer,
            7,
        ),
    ],
)
def test_what_a_config_names_takes_every_shape(
    settings: dict[str, Any], shape: tuple[int, ...], kind: type, num_parameters: int
) -> None:
    config = RunConfig(**settings)
    synthesizer = make_synthesizer(config, shape, LOSS, torch.device("cpu"))
    assert type(synthesizer) is kind
    assert len(synthesizer.parameters) == num_parameters
    hidden, labels = torch.randn(4, *shape), torch.tensor([0, 1, 2, 0])
    for _ in range(2):
        synthesizer.learn(hidden, labels, torch.ones_like(hidden))
        assert synthesizer.predict(hidden, labels).shape == hidden.shape


@pytest.mark.parametrize(
    ("settings", "widths"),
    [
        ({"synthesizer": "mlp"}, {1024}),
        ({"synthesizer": "mlp", "synthesizer_width": 7}, {7}),
        ({"synthesizer": "conv"}, {2}),
        ({"synthesizer": "conv", "synthesizer_width": 7}, {7}),
    ],
)
def test_the_width_of_hidden_layers(settings: dict[str, Any], widths: set[int]) -> None:
    config = RunConfig(model="cnn", **settings)
    made: Any = make_synthesizer(config, IMAGE, LOSS, torch.device("cpu"))
    assert {
        len(part.weight) for part in list(made.network)[:-1] if hasattr(part, "weight")
    } == widths


def test_every_name_has_its_maker() -> None:
    for name, traits in SYNTHESIZERS.items():
        config = RunConfig(synthesizer=name, model="cnn")
        made = make_synthesizer(config, IMAGE, LOSS, torch.device("cpu"))
        module = traits.maker.partition(":")[0]
        assert type(made).__module__ in {module, PooledSynthesizer.__module__}


def test_conv_needs_images() -> None:
    config = RunConfig(model="cnn", synthesizer="conv")
    with pytest.raises(ConfigError, match=re.escape("needs activations [B, C, H, W], but these")):
        make_synthesizer(config, (6,), LOSS, torch.device("cpu"))


def test_the_gradients_a_synthesizer_learns_by_are_clipped() -> None:
    """Adam's second moments hold the squares of what it was given: 0.001 of them, at first."""
    hidden, labels, target = random_task()
    given = []
    for clip in (None, 1e-3):
        config = RunConfig(synthesizer="linear", synthesizer_clip=clip)
        made: Any = make_synthesizer(config, (NUM_UNITS,), LOSS, torch.device("cpu"))
        made.learn(hidden, labels, target)
        squares = sum(moment.sum().item() for moment in made._optimizer.second_moments)
        given.append((squares / 0.001) ** 0.5)
    assert given[0] > 0.1
    assert given[1] == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("config", "kind", "num_parameters"),
    [
        (RunConfig(synthesizer="critic"), CriticSynthesizer, 6),
        (RunConfig(synthesizer="linear"), LinearSynthesizer, 3),
        (RunConfig(synthesizer="linear", label_conditioning=False), LinearSynthesizer, 2),
        (RunConfig(synthesizer="mlp"), MlpSynthesizer, 10),
        (RunConfig(synthesizer="mlp", label_conditioning=False), MlpSynthesizer, 10),
    ],
)
def test_a_config_names_its_synthesizer(config: RunConfig, kind: type, num_parameters: int) -> None:
    synthesizer = make_synthesizer(config, (NUM_UNITS,), LOSS, torch.device("cpu"))
    hidden, labels, target = random_task()
    assert type(synthesizer) is kind
    assert len(synthesizer.parameters) == num_parameters
    synthesizer.learn(hidden, labels, target)
    assert synthesizer.predict(hidden, labels).shape == hidden.shape


@pytest.mark.parametrize(("synthesizer_lr", "moved"), [(None, 1e-3), (0.25, 0.25)])
def test_the_rate_of_a_synthesizer(synthesizer_lr: float | None, moved: float) -> None:
    """Adam's first update moves every weight by the rate itself, whatever the stage's is."""
    config = RunConfig(synthesizer="linear", lr=0.5, synthesizer_lr=synthesizer_lr)
    synthesizer = make_synthesizer(config, (NUM_UNITS,), LOSS, torch.device("cpu"))
    hidden, labels, target = random_task()
    synthesizer.learn(hidden, labels, target)
    bias = synthesizer.parameters[1]
    torch.testing.assert_close(bias.abs(), torch.full_like(bias, moved))
