"""Agreement of gradients: figures worked out by hand, and what has none."""

from __future__ import annotations

import math

import pytest
import torch

from dni_async.synthesizers.agreement import MAX_UNREAD, Agreement, Comparison

# synthetic, returned -> cosine, relative error, norm ratio
PAIRS: dict[str, tuple[list[float], list[float], tuple[float, float, float]]] = {
    "equal": ([3.0, 4.0], [3.0, 4.0], (1.0, 0.0, 1.0)),
    "twice as long": ([6.0, 8.0], [3.0, 4.0], (1.0, 1.0, 2.0)),
    "opposite": ([-3.0, -4.0], [3.0, 4.0], (-1.0, 2.0, 1.0)),
    "at a right angle": ([-4.0, 3.0], [3.0, 4.0], (0.0, math.sqrt(2), 1.0)),
    "half a right angle": ([1.0, 1.0], [0.0, 1.0], (math.sqrt(0.5), 1.0, math.sqrt(2))),
    "a synthetic gradient of zero": ([0.0, 0.0], [3.0, 4.0], (0.0, 1.0, 0.0)),
    "small": ([3e-12, 4e-12], [3e-12, 4e-12], (1.0, 0.0, 1.0)),
}


def agreement_of(*pairs: tuple[list[float], list[float]]) -> Agreement:
    """What is taken after these pairs."""
    comparison = Comparison()
    for synthetic, returned in pairs:
        comparison.add(torch.tensor(synthetic), torch.tensor(returned))
    return comparison.take()


@pytest.mark.parametrize("name", PAIRS)
def test_the_agreement_of_one_pair(name: str) -> None:
    synthetic, returned, figures = PAIRS[name]
    agreement = agreement_of((synthetic, returned))
    assert agreement.num_gradients == 1
    told = (agreement.cosine, agreement.relative_error, agreement.norm_ratio)
    assert told == pytest.approx(figures, abs=1e-3)


def test_the_batch_counts_as_one_vector_whatever_its_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    synthetic, returned = (torch.randn(4, 3, 2, 5, generator=generator) for _ in range(2))
    figures = []
    for s, r in ((synthetic, returned), (synthetic.transpose(1, 3), returned.transpose(1, 3))):
        comparison = Comparison()
        comparison.add(s, r)
        figures.append(comparison.take())
    cosine = torch.nn.functional.cosine_similarity(synthetic.flatten(), returned.flatten(), dim=0)
    error = (synthetic - returned).norm() / returned.norm()
    for told in figures:
        assert told.cosine == pytest.approx(cosine.item(), abs=1e-6)
        assert told.relative_error == pytest.approx(error.item(), rel=1e-5)
        assert told.norm_ratio == pytest.approx((synthetic.norm() / returned.norm()).item())


@pytest.mark.parametrize("num_pairs", [1, MAX_UNREAD - 1, MAX_UNREAD, 2 * MAX_UNREAD + 3])
def test_the_mean_is_of_all_pairs_however_many(num_pairs: int) -> None:
    comparison = Comparison()
    for number in range(num_pairs):
        comparison.add(torch.tensor([float(number), 0.0]), torch.tensor([2.0, 0.0]))
    agreement = comparison.take()
    assert agreement.num_gradients == num_pairs
    assert agreement.norm_ratio == pytest.approx((num_pairs - 1) / 4)


def test_how_many_were_corrected() -> None:
    """Of a pair of two values of which one was it is a half; of what cannot be, nothing."""
    comparison, pair = Comparison(), (torch.ones(2), torch.ones(2))
    one, none = torch.ones(()), torch.zeros(())
    comparison.add_values([pair, pair], [one, none])
    comparison.add_values([pair], [one])
    comparison.add_values([pair, pair], [none])
    comparison.add_values([pair])
    state = comparison.state()
    assert comparison.take() == Agreement(4, 1.0, 0.0, 1.0, 0.375)
    comparison.restore(state)
    assert comparison.take().corrected == 0.375


@pytest.mark.parametrize(
    ("synthetic", "returned"),
    [
        ([1.0, 1.0], [0.0, 0.0]),
        ([math.inf, 1.0], [1.0, 1.0]),
        ([math.nan, 1.0], [1.0, 1.0]),
        ([1.0, 1.0], [1e30, 1.0]),
    ],
)
def test_what_has_no_figures_is_left_out(synthetic: list[float], returned: list[float]) -> None:
    assert agreement_of((synthetic, returned)) == Agreement()
    with_another = agreement_of((synthetic, returned), ([1.0, 0.0], [1.0, 0.0]))
    assert with_another == Agreement(1, 1.0, 0.0, 1.0)


def test_taking_begins_anew() -> None:
    comparison = Comparison()
    comparison.add(torch.ones(2), -torch.ones(2))
    assert comparison.take().cosine == pytest.approx(-1.0)
    assert comparison.take() == Agreement()
    comparison.add(torch.ones(2), torch.ones(2))
    assert comparison.take().cosine == pytest.approx(1.0)
