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

from dni_async.errors import NonFiniteError
from dni_async.stage.accumulation import Accumulated
from dni_async.stage.autograd import pull_back, pull_through
from dni_async.stage.dense import DenseLayers, cross_entropy
from dni_async.stage.draws import Draws
from dni_async.stage.optimizers import Optimizer, clip_gradients
from dni_async.stage.own_state import is_extra, marks_of
from dni_async.stage.passes import Layers, Passes, is_reentrant
from dni_async.stage.rates import RateFactor

__all__ = ["Layers", "Score", "Stage", "add_scores", "prepare_torch", "score"]


def prepare_torch(num_threads: int) -> None:
    """Give this process its thread budget and flush denormals.

    Call before the first parallel operation: threads started later inherit the flush mode.
    Gradients of a batch learnt by heart go denormal, and every product with them costs 10x.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(num_threads)


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over evaluated samples, each position that has a label one; loss_sum in nats."""

    num_samples: int
    num_correct: int
    loss_sum: float


@dataclass(frozen=True, slots=True)
class _Kept:
    """What an update needs of a batch: its graph, or what DenseLayers computed, or inputs only."""

    inputs: torch.Tensor
    needs_input_gradient: bool
    outputs: torch.Tensor | None = None
    dense: list[torch.Tensor] | None = None


class Stage:
    """A slice of the network with its optimizer.

    version counts the updates made, scheduled those that the rate's schedule counts. What an update
    needs of a batch is kept from its forward on.
    autocast: the dtype of matrix products (torch.autocast); None leaves them as they are.
    compiled: layers as torch.compile gives them, used for updates on batches of the first one's
    shape; None: never. checks_gradients: whether pull_back looks for NaN and infinity.
    rate_factor: multiplies the optimizer's rate, by update. accumulate: how many batches' mean
    gradient makes one update. clip_norm: the most that the norm of
    all the stage's gradients together may be (torch.nn.utils.clip_grad_norm_).
    """

    def __init__(
        self,
        index: int,
        layers: nn.Sequential,
        optimizer: Optimizer,
        *,
        autocast: torch.dtype | None = None,
        compiled: Layers | None = None,
        checks_gradients: bool = True,
        rate_factor: RateFactor | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        draws: Draws | None = None,
    ) -> None:
        self._passes = Passes(layers, autocast=autocast, draws=draws)
        self.marks = marks_of(layers)  # of what modules keep beside their weights, as built
        self._is_reentrant: bool | None = None  # until the first training forward with a graph
        self._checks_gradients = checks_gradients
        self.index = index
        self.layers = layers
        self.version = 0
        self._compiled = compiled
        self._compiled_shape: torch.Size | None = None
        self._dense = None
        if autocast is None and compiled is None:
            self._dense = DenseLayers.match(layers)
        self._named = [(f"gradient of {n}", p) for n, p in layers.named_parameters()]
        self._optimizer = optimizer
        self._rate, self._rate_factor = optimizer.lr, rate_factor
        self.scheduled = 0
        self.accumulated = Accumulated(accumulate) if accumulate > 1 else None
        self._clip_norm = clip_norm
        self._kept: dict[int, _Kept] = {}
        self._carried: dict[int, torch.Tensor] = {}

    def forward(
        self,
        batch_id: int,
        inputs: torch.Tensor,
        *,
        needs_input_gradient: bool,
        keeps_graph: bool = True,
        keeps_inputs: bool = False,
    ) -> torch.Tensor:
        """The activation [B, ...] of inputs [B, ...], detached.

        keeps_graph: hold the graph for update; else hold the inputs alone, which update replays.
        keeps_inputs: hold the inputs beyond the update, for carry_back.
        """
        if not self.layers.training:
            self.layers.train()
        if keeps_inputs:
            self._carried[batch_id] = inputs.detach()
        if not keeps_graph:
            with torch.no_grad():
                outputs = self._passes.run(batch_id, inputs)
            self._kept[batch_id] = _Kept(inputs, needs_input_gradient)
            return outputs
        kept = self._kept[batch_id] = self._keep(batch_id, inputs, needs_input_gradient)
        if kept.dense is not None:
            return kept.dense[-1]
        assert kept.outputs is not None
        return kept.outputs.detach()

    def evaluate(self, inputs: torch.Tensor) -> torch.Tensor:
        """The activation of inputs in evaluation mode; nothing is kept."""
        if self.layers.training:
            self.layers.eval()
        with torch.no_grad():
            return self._passes.run(0, inputs)

    def loss_gradient(self, batch_id: int, labels: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Head only: the mean cross-entropy of a kept batch per label, and its gradient.

        labels [B] or [B, T]; the gradient is shaped as the logits. Raises NonFiniteError.
        """
        kept = self._kept[batch_id]
        outputs = kept.outputs if kept.dense is None else kept.dense[-1]
        assert outputs is not None  # the head never replays
        value, gradient = cross_entropy(outputs, labels)
        if not math.isfinite(value):
            raise NonFiniteError(self.index, batch_id, "loss")
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
        if kept.outputs is None and kept.dense is None:
            kept = self._keep(batch_id, kept.inputs, kept.needs_input_gradient, is_replay=True)
        input_gradient = None
        if kept.dense is not None:
            assert self._dense is not None
            input_gradient = self._dense.pull_back(
                kept.dense, gradient, to_parameters=True, to_inputs=kept.needs_input_gradient
            )
        else:
            input_gradient = _pull_back_kept(kept, gradient)
        if self._checks_gradients:
            self._check_finite(batch_id, gradient, source)
        return input_gradient

    def carry_back(self, batch_id: int, gradient: torch.Tensor, *, source: str) -> torch.Tensor:
        """The gradient of a batch's inputs, from the gradient [B, ...] of its activation.

        The inputs kept by forward are replayed through the present weights (Features Replay, Huo
        et al. 2018), which have moved on; running statistics do not count them again. No
        parameter gets a gradient. Raises NonFiniteError.
        """
        inputs = self._carried.pop(batch_id)
        if not self.layers.training:
            self.layers.train()
        if self._dense is not None and self._dense.takes(inputs):
            tensors = self._dense.forward(inputs)
            carried = self._dense.pull_back(tensors, gradient, to_parameters=False, to_inputs=True)
        else:
            outputs = self._passes.run(batch_id, inputs.requires_grad_(), is_replay=True)
            if self._is_reentrant:  # which works for no part of the leaves alone
                pull_back(outputs, gradient)
                self.discard()
                carried = inputs.grad
            else:
                carried = pull_through(outputs, gradient, inputs)
        carried = torch.zeros_like(inputs) if carried is None else carried
        if not _is_finite(carried):
            self.check_gradient(batch_id, gradient, source)  # the cause, if it is upstream
            raise NonFiniteError(self.index, batch_id, "gradient of the inputs")
        return carried

    def forget(self, batch_id: int) -> None:
        """Drop what is kept of a batch, if anything is."""
        self._kept.pop(batch_id, None)
        self._carried.pop(batch_id, None)

    def apply(self, *, rate: float = 1.0, is_scheduled: bool = True) -> None:
        """Update the parameters with the gradients that pull_back left, or gather them.

        rate: multiplies the learning rate this once; of gathered gradients, the last one's counts.
        is_scheduled: whether the schedule moves on.
        """
        if self.accumulated is not None and not self.accumulated.add([p for _, p in self._named]):
            return
        if self._clip_norm is not None:
            clip_gradients((p for _, p in self._named), self._clip_norm)
        factor = rate
        if self._rate_factor is not None:
            factor *= self._rate_factor(self.scheduled)
        self._optimizer.lr = self._rate * factor
        self._optimizer.update()
        self.version += 1
        self.scheduled += is_scheduled

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights, buffers and what the optimizer remembers, as ``KIND/NAME``; not copied."""
        found = {
            f"weights/{name}": tensor
            for name, tensor in self.layers.state_dict().items()
            if not is_extra(name)
        }
        names = [name for name, _ in self.layers.named_parameters()]
        for name, remembered in zip(names, self._optimizer.tensors(), strict=False):
            found |= {f"{kind}/{name}": tensor for kind, tensor in remembered.items()}
        return found

    def discard(self) -> None:
        """Make no update: drop the gradients that pull_back left."""
        for _, parameter in self._named:
            parameter.grad = None

    def check_gradient(self, batch_id: int, gradient: torch.Tensor, source: str) -> None:
        """Raises NonFiniteError if gradient has a NaN or an infinity."""
        if not _is_finite(gradient):
            raise NonFiniteError(self.index, batch_id, source)

    def _keep(
        self,
        batch_id: int,
        inputs: torch.Tensor,
        needs_input_gradient: bool,
        *,
        is_replay: bool = False,
    ) -> _Kept:
        """Run inputs in training mode and keep what it takes to pull a gradient back."""
        if self._dense is not None and self._dense.takes(inputs):
            return _Kept(inputs, needs_input_gradient, dense=self._dense.forward(inputs))
        may_be_leaf = self.index > 0 and inputs.is_floating_point()
        is_leaf = may_be_leaf and self._is_reentrant is not False
        inputs.requires_grad_(needs_input_gradient or is_leaf)
        compiled = self._compiled_for(inputs)
        outputs = self._passes.run(batch_id, inputs, compiled=compiled, is_replay=is_replay)
        if self._is_reentrant is None:
            self._is_reentrant = is_reentrant(outputs)
        return _Kept(inputs, needs_input_gradient, outputs=outputs)

    def _compiled_for(self, inputs: torch.Tensor) -> Layers | None:
        """The compiled layers, unless a ragged last batch would compile them once more."""
        if self._compiled_shape is None:
            self._compiled_shape = inputs.shape
        return self._compiled if inputs.shape == self._compiled_shape else None

    def _check_finite(self, batch_id: int, gradient: torch.Tensor, source: str) -> None:
        for name, parameter in self._named:
            if parameter.grad is not None and not _is_finite(parameter.grad):
                self.check_gradient(batch_id, gradient, source)  # the cause, if it is upstream
                raise NonFiniteError(self.index, batch_id, name)


def _pull_back_kept(kept: _Kept, gradient: torch.Tensor) -> torch.Tensor | None:
    """Leave the gradients of a kept graph; the gradient of its inputs, if that is needed.

    Layers that were all skipped have no graph; what the outputs do not depend on gets zeros.
    """
    assert kept.outputs is not None
    if kept.outputs.requires_grad:
        pull_back(kept.outputs, gradient)
    if not kept.needs_input_gradient:
        return None
    return torch.zeros_like(kept.inputs) if kept.inputs.grad is None else kept.inputs.grad


def score(logits: torch.Tensor, labels: torch.Tensor) -> Score:
    """How well logits [B, C] fit labels [B], or logits [B, T, C] labels [B, T]."""
    logits, labels = logits.flatten(0, -2).float(), labels.flatten()
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
