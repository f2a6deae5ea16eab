"""Pull a gradient back through a graph without importing half of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import graph

# An internal name; without it the public door does the same, more slowly.
_engine: Any = getattr(graph, "_engine_run_backward", None)

__all__ = ["pull_back", "pull_through"]


def pull_back(outputs: torch.Tensor, gradient: torch.Tensor) -> None:
    """As torch.autograd.backward(outputs, gradient), for one output of the same shape.

    The public function checks shapes through torch's symbolic algebra and imports it for that:
    half a second in every worker before its first update.
    """
    if outputs.shape != gradient.shape:
        raise ValueError(f"gradient is {list(gradient.shape)}, needs {list(outputs.shape)}")
    if _engine is None:
        torch.autograd.backward(outputs, gradient)
        return
    _engine((outputs,), (gradient,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def pull_through(
    outputs: torch.Tensor, gradient: torch.Tensor, inputs: torch.Tensor
) -> torch.Tensor | None:
    """As torch.autograd.grad(outputs, inputs, gradient): only what leads to inputs is computed.

    None where outputs do not depend on inputs.
    """
    if outputs.shape != gradient.shape:
        raise ValueError(f"gradient is {list(gradient.shape)}, needs {list(outputs.shape)}")
    if _engine is None:
        return torch.autograd.grad(outputs, inputs, gradient, allow_unused=True)[0]
    found: torch.Tensor | None = _engine(
        (outputs,), (gradient,), False, False, (inputs,), allow_unreachable=True,
        accumulate_grad=False,
    )[0]  # fmt: skip
    return found
