"""Cross-entropy: torch's own numbers bit for bit, and what synthesizers take from it."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn import functional

from dni_async import ConfigError
from dni_async.stage.losses.cross_entropy import CrossEntropy, OneHot
from dni_async.stage.losses.score import Score, add_scores
from tests.stage.test_stage import random

LOSS = CrossEntropy(10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_loss_and_gradient_equal_autograds_bit_for_bit(dtype: torch.dtype, scale: float) -> None:
    logits = (random(16, 10) * scale).to(dtype).requires_grad_()
    labels = torch.arange(16) % 10
    expected = functional.cross_entropy(logits.float(), labels)
    expected.backward()  # type: ignore[no-untyped-call]
    value, gradient = LOSS.gradient(logits.detach(), labels)
    assert value == expected.item()
    assert torch.equal(gradient, logits.grad)  # type: ignore[arg-type]


def test_it_is_the_mean_over_all_positions() -> None:
    logits = random(4, 3, 10).requires_grad_()
    labels = torch.arange(12).reshape(4, 3) % 10
    expected = functional.cross_entropy(logits.transpose(1, 2), labels)
    expected.backward()  # type: ignore[no-untyped-call]
    value, gradient = LOSS.gradient(logits.detach(), labels)
    assert value == pytest.approx(expected.item())
    torch.testing.assert_close(gradient, logits.grad)
    assert LOSS.sample_dims(labels) == 2


@pytest.mark.parametrize("dim", [0, 1])
def test_gradients_of_samples_are_of_the_summed_loss_in_either_layout(dim: int) -> None:
    logits, labels = random(16, 10).requires_grad_(), torch.arange(16) % 10
    expected = functional.cross_entropy(logits, labels, reduction="sum")
    (reference,) = torch.autograd.grad(expected, logits)
    given = logits.detach() if dim == 1 else logits.detach().t().contiguous()
    found = LOSS.sample_gradients(given, labels, dim=dim)
    # As the critic has always computed it, bit for bit.
    one_hot = torch.eye(10).index_select(0, labels)
    plain = torch.softmax(given, dim) - (one_hot if dim == 1 else one_hot.t())
    assert torch.equal(found, plain)
    torch.testing.assert_close(found if dim == 1 else found.t(), reference)


def test_look_ups_are_the_products_with_one_hots() -> None:
    encoding, labels = OneHot(10), torch.tensor([3, 0, 9, 3])
    codes, table, rows = encoding.codes(labels), random(10, 5), random(4, 5, seed=2)
    assert codes.tolist() == functional.one_hot(labels, 10).tolist()
    assert torch.equal(encoding.select(table, labels), codes @ table)
    torch.testing.assert_close(encoding.collect(labels, rows), codes.t() @ rows)


def test_scores_add_up() -> None:
    loss = CrossEntropy(3)
    logits, labels = random(10, 3), torch.arange(10) % 3
    total = add_scores([loss.score(logits[:7], labels[:7]), loss.score(logits[7:], labels[7:])])
    whole = loss.score(logits, labels)
    assert total.num_samples == whole.num_samples == 10
    assert total.sums["loss"] == pytest.approx(whole.sums["loss"])
    assert whole.means["loss"] == pytest.approx(functional.cross_entropy(logits, labels).item())
    assert add_scores([]) == Score(0, {})
    assert add_scores([]).means == {}


def test_each_position_with_a_label_is_scored() -> None:
    loss = CrossEntropy(5)
    logits, labels = random(4, 3, 5), torch.arange(12).reshape(4, 3) % 5
    assert loss.score(logits, labels) == loss.score(logits.flatten(0, 1), labels.flatten())
    assert loss.score(logits, labels).num_samples == 12


def test_outputs_need_a_logit_for_every_class() -> None:
    labels = torch.zeros(3, 2, dtype=torch.int64)
    LOSS.check_outputs(torch.zeros(3, 2, 11), labels)
    for outputs in (torch.zeros(3, 2, 9), torch.zeros(3, 10)):
        with pytest.raises(ConfigError, match=re.escape("needs [3, 2, at least 10]")):
            LOSS.check_outputs(outputs, labels)
