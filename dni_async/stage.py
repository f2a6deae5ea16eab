"""The numbers of one stage: forward, pull a gradient back through its layers, update.

Knows torch and nothing of messages, windows or neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from dni_async.autograd import pull_back
from dni_async.errors import NonFiniteError
from dni_async.optimizers import Optimizer

__all__ = ["Score", "Stage", "add_scores", "prepare_torch", "score"]


def prepare_torch(num_threads: int) -> None:
    """Give this process its thread budget and flush denormals.

    Call before the first parallel operation: threads started later inherit the flush mode.
    Gradients of a batch learnt by heart go denormal, and every product with them costs 10x.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(num_threads)


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over evaluated samples; loss_sum in nats."""

    num_samples: int
    num_correct: int
    loss_sum: float


@dataclass(frozen=True, slots=True)
class _Kept:
    inputs: torch.Tensor
    outputs: torch.Tensor | None  # with its graph; None: replay the inputs
    version: int


class Stage:
    """A slice of the network with its optimizer.

    version counts the updates made. What an update needs of a batch is kept from its forward on.
    autocast: the dtype of matrix products (torch.autocast); None leaves them as they are.
    """

    def __init__(
        self,
        index: int,
        layers: nn.Sequential,
        optimizer: Optimizer,
        *,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._autocast = autocast
        self.index = index
        self.layers = layers
        self.version = 0
        self._named = [(f"gradient of {n}", p) for n, p in layers.named_parameters()]
        self._optimizer = optimizer
        self._kept: dict[int, _Kept] = {}

    def forward(
        self,
        batch_id: int,
        inputs: torch.Tensor,
        *,
        needs_input_gradient: bool,
        keeps_graph: bool = True,
    ) -> torch.Tensor:
        """The activation [B, ...] of inputs [B, ...], detached.

        keeps_graph: hold the graph for update; else hold the inputs alone, which update replays.
        """
        if not self.layers.training:
            self.layers.train()
        inputs.requires_grad_(needs_input_gradient)
        with torch.set_grad_enabled(keeps_graph):
            outputs = self._run(inputs)
        self._kept[batch_id] = _Kept(inputs, outputs if keeps_graph else None, self.version)
        return outputs.detach()

    def evaluate(self, inputs: torch.Tensor) -> torch.Tensor:
        """The activation of inputs in evaluation mode; nothing is kept."""
        if self.layers.training:
            self.layers.eval()
        with torch.no_grad():
            return self._run(inputs)

    def loss_gradient(self, batch_id: int, labels: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Head only: the mean cross-entropy of a kept batch and its gradient [B, C].

        Raises NonFiniteError.
        """
        outputs = self._kept[batch_id].outputs
        assert outputs is not None  # the head never replays
        logits = outputs.detach().requires_grad_()
        loss = functional.cross_entropy(logits.float(), labels)
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteError(self.index, batch_id, "loss")
        (gradient,) = torch.autograd.grad(loss, logits)
        return value, gradient

    def update(self, batch_id: int, gradient: torch.Tensor, *, source: str) -> torch.Tensor | None:
        """Pull gradient [B, ...] of a kept batch's activation back, then apply; see both."""
        input_gradient = self.pull_back(batch_id, gradient, source=source)
        self.apply()
        return input_gradient

    def pull_back(
        self, batch_id: int, gradient: torch.Tensor, *, source: str
    ) -> torch.Tensor | None:
        """Turn gradient [B, ...] of a kept batch's activation into gradients of the parameters.

        A batch kept without its graph is replayed through the present weights. source names the
        gradient in an error. Returns the gradient of the inputs if forward was told that it is
        needed. Raises NonFiniteError, and then nothing may be applied.
        """
        kept = self._kept.pop(batch_id)
        if not self.layers.training:
            self.layers.train()
        outputs = self._run(kept.inputs) if kept.outputs is None else kept.outputs
        pull_back(outputs, gradient)
        self._check_finite(batch_id, gradient, source)
        return kept.inputs.grad

    def apply(self) -> None:
        """Update the parameters with the gradients that pull_back left."""
        self._optimizer.update()
        self.version += 1

    def staleness(self, batch_id: int) -> int:
        """Updates made since the forward of a kept batch."""
        return self.version - self._kept[batch_id].version

    def check_gradient(self, batch_id: int, gradient: torch.Tensor, source: str) -> None:
        """Raises NonFiniteError if gradient has a NaN or an infinity."""
        if not _is_finite(gradient):
            raise NonFiniteError(self.index, batch_id, source)

    def _run(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor
        if self._autocast is None:
            outputs = self.layers(inputs)
        else:
            with torch.autocast(inputs.device.type, self._autocast):
                outputs = self.layers(inputs)
        return outputs

    def _check_finite(self, batch_id: int, gradient: torch.Tensor, source: str) -> None:
        for name, parameter in self._named:
            if parameter.grad is not None and not _is_finite(parameter.grad):
                self.check_gradient(batch_id, gradient, source)  # the cause, if it is upstream
                raise NonFiniteError(self.index, batch_id, name)


def score(logits: torch.Tensor, labels: torch.Tensor) -> Score:
    """How well logits [B, C] fit labels [B]."""
    logits = logits.float()
    loss_sum = functional.cross_entropy(logits, labels, reduction="sum").item()
    num_correct = int((logits.argmax(1) == labels).sum())
    return Score(len(labels), num_correct, loss_sum)


def add_scores(scores: Sequence[Score]) -> Score:
    """The sums over several batches."""
    return Score(
        sum(s.num_samples for s in scores),
        sum(s.num_correct for s in scores),
        sum(s.loss_sum for s in scores),
    )


def _is_finite(tensor: torch.Tensor) -> bool:
    # One pass: a sum is finite unless a term is not; an overflowing sum is looked at again.
    return math.isfinite(tensor.sum().item()) or bool(torch.isfinite(tensor).all())
