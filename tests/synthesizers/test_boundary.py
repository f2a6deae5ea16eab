"""A boundary: mean-loss gradients outside, per-sample ones inside."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch.nn import functional

from dni_async.errors import ConfigError
from dni_async.stage.descent.optimizers import Adam, Sgd
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.values import Values, gathered
from dni_async.synthesizers.agreement import Agreement
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.critic import CriticSynthesizer
from dni_async.synthesizers.deep_critic import DeepCriticSynthesizer
from dni_async.synthesizers.interface import Synthesizer
from dni_async.synthesizers.linear import LinearSynthesizer
from dni_async.synthesizers.mlp import MlpSynthesizer

NUM_CLASSES = 3
LOSS = make_loss("cross-entropy", (NUM_CLASSES,))
Make = Callable[[tuple[int, ...]], Synthesizer]


def make_linear(shape: tuple[int, ...]) -> Synthesizer:
    """A synthesizer whose update subtracts the gradient itself."""
    return LinearSynthesizer(math.prod(shape), LOSS.encoding, lambda ps: Sgd(ps, lr=1.0))


def make_critic(shape: tuple[int, ...]) -> Synthesizer:
    """The default of a run."""
    return CriticSynthesizer(math.prod(shape), LOSS, lambda ps: Adam(ps, lr=1e-2))


def make_deep(shape: tuple[int, ...]) -> Synthesizer:
    """With a hidden layer."""
    return DeepCriticSynthesizer(math.prod(shape), LOSS, lambda ps: Adam(ps, lr=1e-2))


def make_mlp(shape: tuple[int, ...]) -> Synthesizer:
    """The one that cannot do with one sample."""
    return MlpSynthesizer(math.prod(shape), LOSS.encoding, lambda ps: Adam(ps, lr=1e-2))


def batch(*shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An activation of this shape, its labels and a gradient for it."""
    generator = torch.Generator().manual_seed(0)
    hidden, gradient = (torch.randn(shape, generator=generator) for _ in range(2))
    return hidden, torch.arange(shape[0]) % NUM_CLASSES, gradient


def test_the_synthesizer_works_in_per_sample_units() -> None:
    hidden, labels, returned = batch(4, 6)
    made: list[Synthesizer] = []

    def make(shape: tuple[int, ...]) -> Synthesizer:
        made.append(make_linear(shape))
        return made[-1]

    boundary, twin = Boundary(make, LOSS), make_linear((6,))
    boundary.predict(hidden, labels)
    boundary.learn(hidden, labels, returned)
    twin.learn(hidden, labels, returned * 4)
    for mine, its in zip(made[0].parameters, twin.parameters, strict=True):
        assert torch.equal(mine, its)
    expected = twin.predict(hidden, labels) / 4
    assert torch.equal(boundary.predict(hidden, labels), expected)
    assert len(made) == 1


@pytest.mark.parametrize("make", [make_linear, make_critic])
def test_the_batch_size_does_not_change_the_scale(make: Make) -> None:
    """Every sample twice: each one's share of the mean loss halves, and so does its gradient."""
    hidden, labels, returned = batch(4, 6)
    hidden_twice, labels_twice = hidden.repeat(2, 1), labels.repeat(2)

    def seeded(shape: tuple[int, ...]) -> Synthesizer:
        torch.manual_seed(0)
        return make(shape)

    small, large = Boundary(seeded, LOSS), Boundary(seeded, LOSS)
    for _ in range(3):
        once = small.predict(hidden, labels)
        twice = large.predict(hidden_twice, labels_twice)
        torch.testing.assert_close(twice, once.repeat(2, 1) / 2)
        small.learn(hidden, labels, returned)
        large.learn(hidden_twice, labels_twice, returned.repeat(2, 1) / 2)


@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 3), (4, 3, 2, 2), (1, 6)])
@pytest.mark.parametrize("make", [make_linear, make_critic, make_mlp])
def test_activations_of_any_shape(make: Make, shape: tuple[int, ...]) -> None:
    hidden, labels, returned = batch(*shape)
    boundary = Boundary(make, LOSS)
    for _ in range(2):
        assert boundary.predict(hidden, labels).shape == shape
        boundary.learn(hidden, labels, returned)


def test_channels_last_predicts_the_same() -> None:
    hidden, labels, returned = batch(4, 3, 2, 2)
    rearranged = hidden.contiguous(memory_format=torch.channels_last)
    first, second = Boundary(make_linear, LOSS), Boundary(make_linear, LOSS)
    first.learn(hidden, labels, returned)
    second.learn(rearranged, labels, returned)
    assert torch.equal(first.predict(hidden, labels), second.predict(rearranged, labels))


def test_what_a_boundary_is_given_is_left_alone() -> None:
    hidden, labels, returned = batch(4, 6)
    given = [tensor.clone() for tensor in (hidden, labels, returned)]
    boundary = Boundary(make_critic, LOSS)
    boundary.predict(hidden, labels)
    boundary.learn(hidden, labels, returned)
    for tensor, before in zip((hidden, labels, returned), given, strict=True):
        assert torch.equal(tensor, before)


def test_a_boundary_may_learn_before_it_predicts() -> None:
    """The first batch of a run may be one that only passes through."""
    hidden, labels, returned = batch(4, 6)
    boundary = Boundary(make_linear, LOSS)
    boundary.learn(hidden, labels, returned)
    assert boundary.predict(hidden, labels).abs().sum() > 0


@pytest.mark.parametrize("make", [make_critic, make_deep], ids=["linear", "deep"])
def test_a_critic_of_positions_is_compared_and_not_bent(make: Make) -> None:
    hidden, _, returned = batch(4, 3, 6)
    labels = torch.arange(12).view(4, 3) % NUM_CLASSES
    made = make((6,))
    boundary = Boundary(lambda _: made, LOSS)
    before = [each.detach().clone() for each in made.parameters]
    for _ in range(3):
        boundary.learn(hidden, labels, returned)
    for mine, its in zip(made.parameters, before, strict=True):
        assert torch.equal(mine, its)
    synthetic = boundary.predict(hidden, labels).flatten()
    told = boundary.comparison.take()
    expected = functional.cosine_similarity(synthetic, returned.flatten(), dim=0)
    assert (told.num_gradients, told.corrected) == (3, 0.0)
    assert told.cosine == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("make", [make_linear, make_critic])
def test_each_position_with_a_label_is_a_sample(
    make: Callable[[tuple[int, ...]], Synthesizer],
) -> None:
    hidden, _, returned = batch(4, 3, 6)
    labels = torch.arange(12).reshape(4, 3) % NUM_CLASSES

    def seeded(shape: tuple[int, ...]) -> Synthesizer:
        assert shape == (6,)
        torch.manual_seed(0)
        return make(shape)

    sequences, samples = Boundary(seeded, LOSS), Boundary(seeded, LOSS)
    for _ in range(2):
        predicted = sequences.predict(hidden, labels)
        expected = samples.predict(hidden.flatten(0, 1), labels.flatten())
        assert torch.equal(predicted, expected.view(4, 3, 6))
        sequences.learn(hidden, labels, returned)
        samples.learn(hidden.flatten(0, 1), labels.flatten(), returned.flatten(0, 1))


def test_a_scale_multiplies_what_is_predicted_and_nothing_else() -> None:
    hidden, labels, returned = batch(4, 6)
    plain, scaled = Boundary(make_linear, LOSS), Boundary(make_linear, LOSS, scale=0.5)
    for boundary in (plain, scaled):
        boundary.learn(hidden, labels, returned)
    expected = plain.predict(hidden, labels)
    torch.testing.assert_close(scaled.predict(hidden, labels), 0.5 * expected)
    for boundary in (plain, scaled):
        boundary.learn(hidden, labels, returned)
    torch.testing.assert_close(scaled.predict(hidden, labels), 0.5 * plain.predict(hidden, labels))


def test_a_synthesizer_is_made_for_the_shape_of_a_sample() -> None:
    hidden, labels, _ = batch(4, 3, 2, 2)
    shapes: list[tuple[int, ...]] = []

    def make(shape: tuple[int, ...]) -> Synthesizer:
        shapes.append(shape)
        return make_linear(shape)

    Boundary(make, LOSS).predict(hidden, labels)
    assert shapes == [(3, 2, 2)]


@pytest.mark.parametrize("make", [make_linear, make_critic, make_mlp])
def test_what_is_compared_is_the_prediction_before_learning(
    make: Callable[[tuple[int, ...]], Synthesizer],
) -> None:
    hidden, labels, returned = batch(4, 6)
    made: list[Synthesizer] = []

    def keep(shape: tuple[int, ...]) -> Synthesizer:
        torch.manual_seed(0)
        made.append(make(shape))
        return made[-1]

    boundary = Boundary(keep, LOSS)
    boundary.learn(hidden, labels, returned)
    boundary.comparison.take()
    twin = copy.deepcopy(made[0])  # predicting may change it
    synthetic = twin.predict(hidden, labels).flatten()
    boundary.learn(hidden, labels, returned)
    told = boundary.comparison.take()
    expected = functional.cosine_similarity(synthetic, returned.flatten(), dim=0)
    assert told.num_gradients == 1
    assert told.cosine == pytest.approx(expected.item(), abs=1e-5)
    ratio = synthetic.norm() / (4 * returned.norm())
    assert told.norm_ratio == pytest.approx(ratio.item(), rel=1e-4)


def test_a_synthesizer_that_gives_nothing_when_it_learns_is_not_compared() -> None:
    hidden, labels, returned = batch(1, 6)
    boundary = Boundary(make_mlp, LOSS)
    boundary.learn(hidden, labels, returned)
    assert boundary.comparison.take() == Agreement()


def of_values(*tensors: torch.Tensor, taught: Sequence[int]) -> Values:
    """A tuple of these, of which those at taught need a gradient."""
    given = tuple(t.requires_grad_() if i in taught else t for i, t in enumerate(tensors))
    values = gathered(given)
    assert isinstance(values, Values)
    return Values(tuple(tensor.detach() for tensor in values.tensors), values.structure)


def test_every_value_that_needs_a_gradient_has_a_synthesizer_of_its_own() -> None:
    hidden, labels, returned = batch(4, 6)
    other, _, its = batch(4, 3, 2)
    values = of_values(hidden, torch.arange(9), other, taught=[0, 2])
    boundary, twins = Boundary(make_linear, LOSS), [Boundary(make_linear, LOSS) for _ in range(2)]
    for _ in range(2):
        boundary.learn(values, labels, (returned, its))
        twins[0].learn(hidden, labels, returned)
        twins[1].learn(other, labels, its)
        predicted = boundary.predict(values, labels)
        assert isinstance(predicted, tuple)
        expected = twins[0].predict(hidden, labels), twins[1].predict(other, labels)
        assert all(map(torch.equal, predicted, expected))
    assert boundary.shapes == {0: (6,), 2: (3, 2)}
    assert len(boundary.tensors()) == sum(len(twin.tensors()) for twin in twins)


def test_the_agreement_of_several_values_is_that_of_one_vector() -> None:
    """The second is predicted as badly as the first, and is twice as long."""
    hidden, labels, _ = batch(4, 6)
    boundary = Boundary(make_linear, LOSS)
    values = of_values(hidden, hidden.clone(), taught=[0, 1])
    boundary.learn(values, labels, (torch.ones(4, 6), torch.full((4, 6), 2.0)))
    boundary.comparison.take()
    boundary.learn(values, labels, (torch.ones(4, 6), torch.zeros(4, 6)))
    agreement = boundary.comparison.take()
    assert agreement.num_gradients == 1
    synthetic, twin = [], Boundary(make_linear, LOSS)
    for value in (1.0, 2.0):
        twin = Boundary(make_linear, LOSS)
        twin.learn(hidden, labels, torch.full((4, 6), value))
        synthetic.append(twin.predict(hidden, labels) * 4)
    whole, known = torch.cat(synthetic), torch.cat([torch.ones(4, 6), torch.zeros(4, 6)]) * 4
    cosine = functional.cosine_similarity(whole.flatten(), known.flatten(), dim=0)
    assert agreement.cosine == pytest.approx(cosine.item(), abs=1e-4)
    assert agreement.norm_ratio == pytest.approx((whole.norm() / known.norm()).item(), rel=1e-4)


def test_no_value_needs_a_gradient() -> None:
    hidden, labels, _ = batch(4, 6)
    boundary, values = Boundary(make_linear, LOSS), of_values(hidden, taught=[])
    assert boundary.predict(values, labels) == ()
    boundary.learn(values, labels, ())
    assert boundary.comparison.take() == Agreement()


def test_samples_of_another_size_are_one_sentence() -> None:
    hidden, labels, _ = batch(4, 6)
    boundary = Boundary(make_linear, LOSS)
    boundary.predict(hidden, labels)
    with pytest.raises(ConfigError, match=r"made for samples \[6\], but of a later batch .* \[5\]"):
        boundary.predict(hidden[:, :5], labels)
