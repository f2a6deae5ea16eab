"""8 bits and a scale for each sample: near what was there, exact on average, never silent."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.wire.quantising import dequantise, quantise


def seeded(seed: int = 0) -> torch.Generator:
    """A generator that gives the same numbers every time."""
    return torch.Generator().manual_seed(seed)


def random(*shape: int) -> torch.Tensor:
    """Normal numbers, each sample a thousand times as large as the one before."""
    rows = torch.randn(shape, generator=seeded())
    sizes = torch.logspace(0, 3 * (shape[0] - 1), shape[0])
    return rows * sizes.view(-1, *[1] * (len(shape) - 1))


@pytest.mark.parametrize("generator", [None, seeded()], ids=["nearest", "at random"])
@pytest.mark.parametrize("shape", [(3, 256), (2, 5, 7), (2, 3, 4, 4), (1, 1)])
def test_every_number_arrives_within_a_unit_of_its_sample(
    shape: tuple[int, ...], generator: torch.Generator | None
) -> None:
    tensor = random(*shape)
    quantised, scales = quantise(tensor, generator)
    assert (quantised.dtype, quantised.shape) == (torch.int8, tensor.shape)
    assert (scales.dtype, scales.shape) == (torch.float32, tensor.shape[:1])
    most = 0.5001 if generator is None else 1.0001
    error = (dequantise(quantised, scales) - tensor).abs().flatten(1).amax(1)
    assert (error <= most * scales).all()


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
SAMPLES = st.lists(st.lists(FINITE, min_size=3, max_size=3), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60, database=None)
@given(SAMPLES, st.booleans())
def test_any_finite_numbers_stay_finite_and_keep_their_sign(
    rows: list[list[float]], is_random: bool
) -> None:
    tensor = torch.tensor(rows)
    arrived = dequantise(*quantise(tensor, seeded() if is_random else None))
    assert torch.isfinite(arrived).all()
    assert (arrived * tensor.sign() >= 0).all()
    largest = tensor.abs().amax(1)
    assert (arrived.abs().amax(1) <= largest * (1 + 1e-6)).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("generator", [None, seeded()], ids=["nearest", "at random"])
def test_what_is_not_finite_is_found_after_it_too(
    bad: float, generator: torch.Generator | None
) -> None:
    tensor = torch.ones(2, 4)
    tensor[1, 2] = bad
    arrived = dequantise(*quantise(tensor, generator))
    assert torch.equal(arrived[0], tensor[0])
    assert not torch.isfinite(arrived[1]).all()


def test_zeros_arrive_as_zeros() -> None:
    """As most of an activation is after ReLU, and all of some samples."""
    tensor = torch.zeros(2, 4)
    tensor[0, 1] = 5.0
    assert torch.equal(dequantise(*quantise(tensor, seeded())), tensor)


def test_rounding_at_random_is_exact_on_average() -> None:
    """And to the nearest it is not: all that is below half a unit is lost."""
    tensor = torch.full((1, 20_001), 0.3)
    tensor[0, 0] = 127.0
    assert dequantise(*quantise(tensor))[0, 1:].mean() == 0
    mean = dequantise(*quantise(tensor, seeded()))[0, 1:].mean()
    assert mean == pytest.approx(0.3, abs=0.01)


def test_the_same_seed_rounds_alike() -> None:
    tensor = random(4, 100)
    first, again, other = (quantise(tensor, seeded(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_bfloat16_is_quantised_as_float32_is() -> None:
    tensor = random(3, 9).to(torch.bfloat16)
    quantised, scales = quantise(tensor)
    expected, expected_scales = quantise(tensor.float())
    assert torch.equal(quantised, expected)
    assert torch.equal(scales, expected_scales)
