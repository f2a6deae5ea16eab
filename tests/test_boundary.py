"""A boundary: mean-loss gradients outside, per-sample ones inside."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from dni_async.agreement import Agreement
from dni_async.boundary import Boundary
from dni_async.optimizers import Adam, Sgd
from dni_async.synthesizers import (
    CriticSynthesizer,
    LinearSynthesizer,
    MlpSynthesizer,
    Synthesizer,
)

NUM_CLASSES = 3


def make_linear(num_units: int) -> Synthesizer:
    """A synthesizer whose update subtracts the gradient itself."""
    return LinearSynthesizer(num_units, NUM_CLASSES, lambda ps: Sgd(ps, lr=1.0))


def make_critic(num_units: int) -> Synthesizer:
    """The default of a run."""
    return CriticSynthesizer(num_units, NUM_CLASSES, lambda ps: Adam(ps, lr=1e-2))


def make_mlp(num_units: int) -> Synthesizer:
    """The one that cannot do with one sample."""
    return MlpSynthesizer(num_units, NUM_CLASSES, lambda ps: Adam(ps, lr=1e-2))


def batch(*shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An activation of this shape, its labels and a gradient for it."""
    generator = torch.Generator().manual_seed(0)
    hidden, gradient = (torch.randn(shape, generator=generator) for _ in range(2))
    return hidden, torch.arange(shape[0]) % NUM_CLASSES, gradient


def test_the_synthesizer_works_in_per_sample_units() -> None:
    hidden, labels, returned = batch(4, 6)
    made: list[Synthesizer] = []

    def make(num_units: int) -> Synthesizer:
        made.append(make_linear(num_units))
        return made[-1]

    boundary, twin = Boundary(make), make_linear(6)
    boundary.predict(hidden, labels)
    boundary.learn(hidden, labels, returned)
    twin.learn(hidden, labels, returned * 4)
    for mine, its in zip(made[0].parameters, twin.parameters, strict=True):
        assert torch.equal(mine, its)
    expected = twin.predict(hidden, labels) / 4
    assert torch.equal(boundary.predict(hidden, labels), expected)
    assert len(made) == 1


@pytest.mark.parametrize("make", [make_linear, make_critic])
def test_the_batch_size_does_not_change_the_scale(make: Callable[[int], Synthesizer]) -> None:
    """Every sample twice: each one's share of the mean loss halves, and so does its gradient."""
    hidden, labels, returned = batch(4, 6)
    hidden_twice, labels_twice = hidden.repeat(2, 1), labels.repeat(2)

    def seeded(num_units: int) -> Synthesizer:
        torch.manual_seed(0)
        return make(num_units)

    small, large = Boundary(seeded), Boundary(seeded)
    for _ in range(3):
        once = small.predict(hidden, labels)
        twice = large.predict(hidden_twice, labels_twice)
        torch.testing.assert_close(twice, once.repeat(2, 1) / 2)
        small.learn(hidden, labels, returned)
        large.learn(hidden_twice, labels_twice, returned.repeat(2, 1) / 2)


@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 3), (4, 3, 2, 2), (1, 6)])
@pytest.mark.parametrize("make", [make_linear, make_critic, make_mlp])
def test_activations_of_any_shape(
    make: Callable[[int], Synthesizer], shape: tuple[int, ...]
) -> None:
    hidden, labels, returned = batch(*shape)
    boundary = Boundary(make)
    for _ in range(2):
        assert boundary.predict(hidden, labels).shape == shape
        boundary.learn(hidden, labels, returned)


def test_channels_last_predicts_the_same() -> None:
    hidden, labels, returned = batch(4, 3, 2, 2)
    rearranged = hidden.contiguous(memory_format=torch.channels_last)
    first, second = Boundary(make_linear), Boundary(make_linear)
    first.learn(hidden, labels, returned)
    second.learn(rearranged, labels, returned)
    assert torch.equal(first.predict(hidden, labels), second.predict(rearranged, labels))


def test_what_a_boundary_is_given_is_left_alone() -> None:
    hidden, labels, returned = batch(4, 6)
    given = [tensor.clone() for tensor in (hidden, labels, returned)]
    boundary = Boundary(make_critic)
    boundary.predict(hidden, labels)
    boundary.learn(hidden, labels, returned)
    for tensor, before in zip((hidden, labels, returned), given, strict=True):
        assert torch.equal(tensor, before)


def test_a_boundary_may_learn_before_it_predicts() -> None:
    """The first batch of a run may be one that only passes through."""
    hidden, labels, returned = batch(4, 6)
    boundary = Boundary(make_linear)
    boundary.learn(hidden, labels, returned)
    assert boundary.predict(hidden, labels).abs().sum() > 0


@pytest.mark.parametrize("make", [make_linear, make_critic, make_mlp])
def test_what_is_compared_is_the_prediction_before_learning(
    make: Callable[[int], Synthesizer],
) -> None:
    hidden, labels, returned = batch(4, 6)
    made: list[Synthesizer] = []

    def keep(num_units: int) -> Synthesizer:
        torch.manual_seed(0)
        made.append(make(num_units))
        return made[-1]

    boundary = Boundary(keep)
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
    boundary = Boundary(make_mlp)
    boundary.learn(hidden, labels, returned)
    assert boundary.comparison.take() == Agreement()
