"""SGD, Adam and AdamW on torch's fused kernels, without the wrapper around them.

``torch.optim`` imports torch's compiler when the first optimizer is made (over a second in every
worker) and spends more time in Python per update than a small layer spends on arithmetic. The
kernels are the same, so results equal ``torch.optim`` with ``fused=True`` bit for bit; the tests
hold them to that. Workers and baseline both use this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from dni_async.errors import ConfigError
from dni_async.stage.autograd import without_graph

__all__ = ["Adam", "Memory", "Optimizer", "Sgd", "clip_gradients"]

CLIP_EPS = 1e-6  # torch's own


@dataclass(frozen=True, slots=True)
class Memory:
    """What an optimizer remembers that is not there as soon as it is made.

    parameters: of each that there is something of, by name, JSON that refers to tensors by their
    key, which begins with that name. groups: JSON, by group.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)


class Optimizer(Protocol):
    """Applies the gradients in ``parameter.grad`` and forgets them. lr may change in between."""

    lr: float

    def update(self) -> None:
        """One update of every parameter that has a gradient; then all gradients are None."""

    def tensors(self) -> list[dict[str, torch.Tensor]]:
        """What it remembers of each parameter, by name; not copied, so it may be written to."""

    def memory(self) -> Memory:
        """All else that it remembers, not copied."""

    def remember(self, memory: Memory) -> None:
        """Go on from what memory gave."""


class _MadeWhole:
    """Of an optimizer that has all that it remembers from the first."""

    def memory(self) -> Memory:
        """Nothing else."""
        return Memory()

    def remember(self, memory: Memory) -> None:
        """Nothing to do."""


class Sgd(_MadeWhole):
    """Stochastic gradient descent with momentum (as torch.optim.SGD: no dampening)."""

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        *,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocities = [torch.zeros_like(p) for p in self.parameters] if momentum else []

    @without_graph
    def update(self) -> None:
        """One update; the first one sets the velocity, which is zero before, to the gradient."""
        chosen, gradients = _take_gradients(self.parameters)
        if _are_sparse(gradients):
            chosen, gradients = self._update_sparse(chosen, gradients)
        if not chosen:
            return
        torch._fused_sgd_(
            _pick(self.parameters, chosen),
            gradients,
            _pick(self.velocities, chosen),
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,  # it would overwrite velocities that were put back
        )

    def tensors(self) -> list[dict[str, torch.Tensor]]:
        """The velocity of each parameter; nothing without momentum."""
        return [{"velocity": velocity} for velocity in self.velocities]

    @torch.no_grad()
    def _update_sparse(
        self, chosen: list[int], gradients: list[torch.Tensor]
    ) -> tuple[list[int], list[torch.Tensor]]:
        """Update where gradients are sparse, which no kernel takes; the others.

        As torch.optim.SGD without a kernel. Raises ConfigError with weight decay, as that does.
        """
        if self.weight_decay:
            raise ConfigError("weight_decay: does not go with sparse gradients; sparse=False does")
        dense = []
        for index, gradient in zip(chosen, gradients, strict=True):
            if not gradient.is_sparse:
                dense.append((index, gradient))
                continue
            change = gradient
            if self.velocities:
                change = self.velocities[index].mul_(self.momentum).add_(gradient)
            self.parameters[index].add_(change, alpha=-self.lr)
        return [index for index, _ in dense], [gradient for _, gradient in dense]


class Adam(_MadeWhole):
    """Adam (Kingma & Ba 2015, algorithm 1); decoupled: AdamW (Loshchilov & Hutter 2019).

    clip_norm: the most that the norm of all its gradients together may be; see clip_gradients.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        clip_norm: float | None = None,
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.first_moments = [torch.zeros_like(p) for p in self.parameters]
        self.second_moments = [torch.zeros_like(p) for p in self.parameters]
        # Beside each other, so that all can be counted up at once; each is a view of its own.
        self._all_counts = _counts_of(self.parameters)
        self.counts = [] if self._all_counts is None else list(self._all_counts.unbind())
        self._clip_norm = clip_norm
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_

    @without_graph
    def update(self) -> None:
        """One update; a parameter's count is of its own updates."""
        if self._clip_norm is not None:
            clip_gradients(self.parameters, self._clip_norm)
        chosen, gradients = _take_gradients(self.parameters)
        if _are_sparse(gradients):
            raise ConfigError(
                "optimizer: Adam does not support sparse gradients; take sgd, or make the "
                "embedding with sparse=False"
            )
        if not chosen:
            return
        each = (self.parameters, self.first_moments, self.second_moments, self.counts)
        if len(chosen) == len(self.parameters) and self._all_counts is not None:
            parameters, first_moments, second_moments, counts = each
            self._all_counts.add_(1)
        else:
            parameters, first_moments, second_moments, counts = (_pick(t, chosen) for t in each)
            torch._foreach_add_(counts, 1)
        self._kernel(
            parameters,
            gradients,
            first_moments,
            second_moments,
            [],
            counts,
            lr=self.lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def tensors(self) -> list[dict[str, torch.Tensor]]:
        """Both moments and the count of updates of each parameter."""
        return [
            {"first_moment": first, "second_moment": second, "count": count}
            for first, second, count in zip(
                self.first_moments, self.second_moments, self.counts, strict=True
            )
        ]


@torch.no_grad()
def clip_gradients(parameters: Iterable[torch.Tensor], most: float) -> None:
    """Scale the parameters' gradients so that the norm of all together is at most that.

    As torch.nn.utils.clip_grad_norm_.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (most / (norm + CLIP_EPS)).clamp(max=1.0))


def _counts_of(parameters: list[torch.Tensor]) -> torch.Tensor | None:
    """A float32 zero for each parameter, where they are; None where there is none."""
    if not parameters:
        return None
    return torch.zeros(len(parameters), dtype=torch.float32, device=parameters[0].device)


def _are_sparse(tensors: list[torch.Tensor]) -> bool:
    """Whether any is."""
    return True in [tensor.is_sparse for tensor in tensors]


def _take_gradients(parameters: list[torch.Tensor]) -> tuple[list[int], list[torch.Tensor]]:
    """Which parameters have a gradient, and the gradients; leaves None behind."""
    chosen, gradients = [], []
    for index, parameter in enumerate(parameters):
        if parameter.grad is not None:
            chosen.append(index)
            gradients.append(parameter.grad)
            parameter.grad = None
    return chosen, gradients


def _pick(tensors: list[torch.Tensor], chosen: list[int]) -> list[torch.Tensor]:
    """The chosen ones of tensors, which are one for each parameter, or none at all."""
    return [tensors[index] for index in chosen] if len(chosen) < len(tensors) else tensors
