"""Muon: its step by hand, beside torch's own, and what it leaves to AdamW."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dni_async import ConfigError, RunConfig
from dni_async.stage.descent.making import make_optimizer
from dni_async.stage.descent.muon import Muon, matrices_of, orthogonal, tables_of


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def polynomial(value: float) -> float:
    """What five steps make of a singular value, written out."""
    for _ in range(5):
        value = 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5
    return value


@pytest.mark.parametrize("shape", [(2, 3), (3, 2)], ids=["wide", "tall"])
def test_singular_values_become_what_five_steps_make_of_them(shape: tuple[int, int]) -> None:
    """Of a matrix with singular values 3 and 4, whose norm is 5."""
    matrix = torch.zeros(shape)
    matrix[0, 1], matrix[1, 0] = 3.0, -4.0
    expected = torch.zeros(shape)
    expected[0, 1], expected[1, 0] = polynomial(0.6), -polynomial(0.8)
    torch.testing.assert_close(orthogonal(matrix), expected)
    assert 0.65 < polynomial(0.6) < 1.25
    assert torch.equal(orthogonal(torch.zeros(shape)), torch.zeros(shape))


def test_two_updates_written_out() -> None:
    """W = (1 - r decay) W - 0.2 r sqrt(3) O((1 - mu) g + mu V), V = mu V + (1 - mu) g."""
    start, gradients = numbers(2, 3), [numbers(2, 3, seed=2), numbers(2, 3, seed=3)]
    matrix = start.clone().requires_grad_()
    optimizer = Muon([matrix], [True], lr=0.5, momentum=0.75, weight_decay=0.25)
    first = 0.25 * gradients[0]
    second = 0.75 * first + 0.25 * gradients[1]
    size = 0.2 * 0.5 * 3**0.5
    expected = (1 - 0.125) * start - size * orthogonal(0.25 * gradients[0] + 0.75 * first)
    expected = (1 - 0.125) * expected - size * orthogonal(0.25 * gradients[1] + 0.75 * second)
    for gradient in gradients:
        matrix.grad = gradient
        optimizer.update()
        assert matrix.grad is None
    torch.testing.assert_close(matrix.detach(), expected)
    torch.testing.assert_close(optimizer.tensors()[0]["momentum"], second)


def test_five_updates_are_those_of_torch_but_for_bfloat16() -> None:
    ours, theirs = numbers(16, 8).requires_grad_(), numbers(16, 8).requires_grad_()
    optimizer = Muon([ours], [True], lr=0.1, weight_decay=0.1)
    reference = torch.optim.Muon([theirs], lr=0.1, adjust_lr_fn="match_rms_adamw")
    for update in range(5):
        ours.grad, theirs.grad = numbers(16, 8, seed=update), numbers(16, 8, seed=update)
        optimizer.update()
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_a_filter_of_a_convolution_is_a_row() -> None:
    filters, rows = numbers(4, 3, 2, 2).requires_grad_(), numbers(4, 12).requires_grad_()
    for parameter in (filters, rows):
        parameter.grad = numbers(48, seed=2).view_as(parameter)
        Muon([parameter], [True], lr=0.1).update()
    assert torch.equal(filters.flatten(1), rows)


class Reader(nn.Module):
    """Looks up, mixes, reads off."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix, self.norm = nn.Embedding(9, 4), nn.Linear(4, 4), nn.LayerNorm(4)
        self.read = nn.Linear(4, 9)


def test_tables_vectors_and_the_readout_are_adamws() -> None:
    network = Reader()
    named, tables = list(network.named_parameters()), tables_of(network)
    chosen = [
        name
        for (name, _), is_matrix in zip(named, matrices_of(named, named, tables), strict=True)
        if is_matrix
    ]
    assert chosen == ["mix.weight"]
    lower = named[:3]  # a stage without the readout leaves none of its own to Adam for that
    assert matrices_of(lower, named, tables) == [False, True, False]


def test_all_else_is_updated_as_adamw_does() -> None:
    mine, its = Reader(), Reader()
    its.load_state_dict(mine.state_dict())
    config = RunConfig(optimizer="muon", lr=0.01, weight_decay=0.1)
    ours = make_optimizer(list(mine.named_parameters()), config, tables=tables_of(mine))
    others = [p for name, p in its.named_parameters() if name != "mix.weight"]
    reference = torch.optim.AdamW(others, lr=0.01, weight_decay=0.1, fused=True)
    for update in range(3):
        for network in (mine, its):
            for place, parameter in enumerate(network.parameters()):
                parameter.grad = numbers(*parameter.shape, seed=10 * update + place)
        ours.lr = 0.01 / (update + 1)
        reference.param_groups[0]["lr"] = 0.01 / (update + 1)
        ours.update()
        reference.step()
    for (name, one), other in zip(mine.named_parameters(), its.parameters(), strict=True):
        assert torch.equal(one, other) is (name != "mix.weight")
    kinds = [set(remembered) for remembered in ours.tensors()]
    adams = {"first_moment", "second_moment", "count"}
    assert kinds == [adams, {"momentum"}, adams, adams, adams, adams, adams]


def test_what_has_no_gradient_stays() -> None:
    matrix, vector = numbers(2, 3).requires_grad_(), numbers(3).requires_grad_()
    optimizer = Muon([matrix, vector], [True, False], lr=0.1, weight_decay=0.1)
    optimizer.update()
    assert torch.equal(matrix, numbers(2, 3))
    assert torch.equal(vector, numbers(3))


def test_sparse_gradients_are_refused_in_a_sentence() -> None:
    matrix = numbers(2, 3).requires_grad_()
    matrix.grad = torch.ones(2, 3).to_sparse()
    with pytest.raises(ConfigError, match="Muon does not support sparse gradients"):
        Muon([matrix], [True], lr=0.1).update()


def test_a_momentum_that_is_said_is_taken() -> None:
    named = [("mix", numbers(2, 3).requires_grad_()), ("read", numbers(2, 3).requires_grad_())]
    for said, expected in ((None, 0.95), (0.5, 0.5)):
        made = make_optimizer(named, RunConfig(optimizer="muon", momentum=said))
        assert isinstance(made, Muon)
        assert (made.momentum, len(made.matrices)) == (expected, 1)
