"""Pull a gradient back through a graph, or compute without one, at as little cost as there is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch.autograd import graph

# An internal name; without it the public door does the same, more slowly.
_engine: Any = getattr(graph, "_engine_run_backward", None)

__all__ = ["pull_back", "pull_through", "without_graph"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def without_graph(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """As the decorator torch.no_grad(), which makes two objects at each call and takes longer than
    a small product.
    """

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        if not torch.is_grad_enabled():
            return function(*args, **kwargs)
        torch._C._set_grad_enabled(False)
        try:
            return function(*args, **kwargs)
        finally:
            torch._C._set_grad_enabled(True)

    return run


def pull_back(outputs: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]) -> None:
    """As torch.autograd.backward(outputs, gradients), for gradients of the outputs' shapes.

    The public function checks shapes through torch's symbolic algebra and imports it for that:
    half a second in every worker before its first update.
    """
    outputs, gradients = _with_graph(outputs, gradients)
    if not outputs:
        return
    if _engine is None:
        torch.autograd.backward(outputs, gradients)
        return
    _engine(outputs, gradients, False, False, (), allow_unreachable=True, accumulate_grad=True)


def pull_through(
    outputs: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor],
) -> Sequence[torch.Tensor | None]:
    """As torch.autograd.grad(outputs, inputs, gradients): only what leads to inputs is computed.

    None for inputs that outputs do not depend on.
    """
    outputs, gradients = _with_graph(outputs, gradients)
    if not outputs or not inputs:
        return [None] * len(inputs)
    if _engine is None:
        return torch.autograd.grad(outputs, inputs, gradients, allow_unused=True)
    found: Sequence[torch.Tensor | None] = _engine(
        outputs, gradients, False, False, tuple(inputs), allow_unreachable=True,
        accumulate_grad=False,
    )  # fmt: skip
    return found


def _with_graph(
    outputs: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]
) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Those that depend on anything; layers that were all skipped give some that do not.

    Raises ValueError for gradients that are not shaped as the outputs.
    """
    pairs = list(zip(outputs, gradients, strict=False))
    if len(outputs) != len(gradients) or any(one.shape != other.shape for one, other in pairs):
        raise ValueError(f"gradient is {_shapes(gradients)}, needs {_shapes(outputs)}")
    kept = [pair for pair in pairs if pair[0].requires_grad]
    return tuple(output for output, _ in kept), tuple(gradient for _, gradient in kept)


def _shapes(tensors: Sequence[torch.Tensor]) -> str:
    return ", ".join(str(list(tensor.shape)) for tensor in tensors) or "none"
