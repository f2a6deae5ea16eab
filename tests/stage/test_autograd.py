"""Pulling a gradient back: as torch does it, through its inner door or its outer one."""

from __future__ import annotations

import pytest
import torch

from dni_async.stage import autograd


@pytest.fixture(params=["inner", "outer"], autouse=True)
def door(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in, as an internal name of torch may be gone one day."""
    assert autograd._engine is not None
    if request.param == "outer":
        monkeypatch.setattr(autograd, "_engine", None)


def test_gradients_equal_those_of_torch_and_add_up() -> None:
    x, gradient = torch.randn(3, 4), torch.randn(3, 2)
    mine, its = (torch.ones(4, 2, requires_grad=True) for _ in range(2))
    for _ in range(2):
        autograd.pull_back([torch.tanh(x @ mine)], [gradient])
        torch.autograd.backward(torch.tanh(x @ its), gradient)
    assert mine.grad is not None
    assert its.grad is not None
    assert torch.equal(mine.grad, its.grad)


def test_a_gradient_of_another_shape_is_refused() -> None:
    outputs = torch.ones(3, 4, requires_grad=True) * 2
    with pytest.raises(ValueError, match=r"gradient is \[4\], needs \[3, 4\]"):
        autograd.pull_back([outputs], [torch.ones(4)])


def test_a_graph_is_used_once() -> None:
    outputs = torch.ones(3, requires_grad=True).exp()
    autograd.pull_back([outputs], [torch.ones(3)])
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        autograd.pull_back([outputs], [torch.ones(3)])


@pytest.mark.parametrize("was_enabled", [False, True])
def test_without_graph_is_as_no_grad_and_leaves_the_mode_as_it_was(was_enabled: bool) -> None:
    weight = torch.ones(2, requires_grad=True)

    @autograd.without_graph
    def doubled(*, fails: bool = False) -> torch.Tensor:
        if fails:
            raise ValueError("it fails")
        return weight * 2

    with torch.set_grad_enabled(was_enabled):
        assert not doubled().requires_grad
        assert torch.is_grad_enabled() == was_enabled
        with pytest.raises(ValueError, match="it fails"):
            doubled(fails=True)
        assert torch.is_grad_enabled() == was_enabled
