"""What true gradients teach a critic, and when it is used."""

from __future__ import annotations

import pytest
import torch

from dni_async.synthesizers.correction import DECAY, RIDGE, Correction

NUM_OUTPUTS, NUM_UNITS, NUM_SAMPLES = 3, 5, 40


def drawn(seed: int, *shape: int) -> torch.Tensor:
    """Normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


BENT = drawn(0, NUM_OUTPUTS, NUM_UNITS)


def lesson(seed: int, sign: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """e [K, N], own [N, D], and a truth that differs from it by e times what there is to learn."""
    error, own = drawn(seed, NUM_OUTPUTS, NUM_SAMPLES), drawn(seed + 1, NUM_SAMPLES, NUM_UNITS)
    noise = 0.1 * drawn(seed + 2, NUM_SAMPLES, NUM_UNITS)
    return error, own, own + sign * error.t() @ BENT + noise


def taught(*seeds: int) -> Correction:
    """By lessons of these seeds."""
    made = Correction(NUM_OUTPUTS, NUM_UNITS)
    for seed in seeds:
        made.learn(*lesson(seed))
    return made


def test_it_is_the_ridge_regression_of_what_is_lacking() -> None:
    """Least squares over both lessons, the older one at DECAY, and over RIDGE of their mean."""
    made = taught(1, 11)
    rows, wanted = [], []
    for seed, weight in ((1, DECAY), (11, 1.0)):
        error, own, returned = lesson(seed)
        share = (weight * (1 - DECAY) / NUM_SAMPLES) ** 0.5
        rows.append(share * error.t())
        wanted.append(share * (returned - own))
    ridge = RIDGE * torch.cat(rows).square().sum() / NUM_OUTPUTS
    rows.append(ridge.sqrt() * torch.eye(NUM_OUTPUTS))
    wanted.append(torch.zeros(NUM_OUTPUTS, NUM_UNITS))
    best = torch.linalg.lstsq(torch.cat(rows), torch.cat(wanted)).solution
    torch.testing.assert_close(made.matrix, best, rtol=1e-4, atol=1e-5)


def test_the_second_lesson_judges_the_first() -> None:
    error, own, returned = lesson(11)
    made = taught(1)
    matrix = made.matrix.clone()
    assert made.is_used == 0
    assert torch.equal(made.of(error), torch.zeros_like(own))
    torch.testing.assert_close(made.learn(error, own, returned), own)
    assert made.is_used == 1
    assert not torch.equal(made.matrix, matrix)
    torch.testing.assert_close(
        made.learn(error, own, returned), own + error.t() @ taught(1, 11).matrix
    )


def test_it_is_added_to_a_slope() -> None:
    made, slope = taught(1), drawn(5, NUM_OUTPUTS, NUM_UNITS)
    assert torch.equal(made.add_to(slope), slope)
    made = taught(1, 11)
    torch.testing.assert_close(made.add_to(slope), slope + made.matrix)
    error = drawn(6, NUM_OUTPUTS, 4)
    torch.testing.assert_close(made.of(error), error.t() @ made.matrix)


def test_what_is_lacking_by_chance_is_hardly_ever_added() -> None:
    """Each lesson has a residual of its own: what one teaches is no use for the next."""
    made = Correction(NUM_OUTPUTS, NUM_UNITS)
    used = []
    for seed in range(0, 400, 10):
        error, own, _ = lesson(seed)
        made.learn(error, own, own + error.t() @ drawn(seed + 3, NUM_OUTPUTS, NUM_UNITS))
        used.append(float(made.is_used))
    assert sum(used) <= 4


def test_what_no_longer_helps_is_left_out() -> None:
    """The truth turns round: from then on what was learnt points the wrong way."""
    made = taught(1, 11, 21)
    assert made.is_used == 1
    lessons = 0
    while made.is_used and lessons < 9:
        made.learn(*lesson(101 + 10 * lessons, sign=-1.0))
        lessons += 1
    assert 1 <= lessons <= 4


@pytest.mark.parametrize("scale", [1e-9, 1e9], ids=str)
def test_units_do_not_matter(scale: float) -> None:
    """Of gradients a billion times as large as much is learnt, and judged as well."""
    made, same = taught(1, 11), Correction(NUM_OUTPUTS, NUM_UNITS)
    for seed in (1, 11):
        error, own, returned = lesson(seed)
        same.learn(error * scale, own * scale, returned * scale)
    torch.testing.assert_close(same.matrix, made.matrix, rtol=1e-3, atol=1e-4)
    assert same.is_used == made.is_used == 1


def test_gradients_of_zero_teach_nothing_and_judge_nothing() -> None:
    error, own, returned = lesson(1)
    made = taught(1, 11)
    made.learn(torch.zeros_like(error), torch.zeros_like(own), torch.zeros_like(returned))
    assert made.is_used == 1
    assert made.matrix.isfinite().all()
    empty = Correction(NUM_OUTPUTS, NUM_UNITS)
    empty.learn(torch.zeros_like(error), own, returned)
    assert torch.equal(empty.matrix, torch.zeros_like(empty.matrix))


def test_its_parameters_are_all_of_its_state() -> None:
    made, copy = taught(1, 11), Correction(NUM_OUTPUTS, NUM_UNITS)
    for mine, theirs in zip(copy.parameters, made.parameters, strict=True):
        mine.copy_(theirs)
    for each in (made, copy):
        each.learn(*lesson(21))
    for mine, theirs in zip(copy.parameters, made.parameters, strict=True):
        assert torch.equal(mine, theirs)
    assert copy.is_used == made.is_used
