"""A stage's layers forwards and backwards, by the fastest way that gives the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from dni_async.stage.autograd import pull_back, pull_through
from dni_async.stage.dense import DenseLayers
from dni_async.stage.draws import Draws
from dni_async.stage.graphs.memory import laid_out_as
from dni_async.stage.graphs.passes import Layers, Passes, is_reentrant
from dni_async.stage.values import (
    Gradient,
    Hidden,
    Values,
    as_gradient,
    each,
    gradients_of,
    needing,
    tensors_of,
)

__all__ = ["Kept", "StageLayers"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backward needs of a batch: its graph, or what DenseLayers computed, or inputs only."""

    batch_id: int
    inputs: Hidden
    needs_input_gradient: bool
    outputs: Hidden | None = None
    dense: list[torch.Tensor] | None = None
    is_late: bool = False

    @property
    def activation(self) -> Hidden:
        """What the forward gave, detached; there must have been more kept than the inputs."""
        if self.dense is not None:
            return self.dense[-1]
        assert self.outputs is not None
        return each(self.outputs, torch.Tensor.detach)


class StageLayers:
    """Computes with layers; has_below: whether another stage's activations are the inputs.

    autocast: the dtype of matrix products (torch.autocast); None leaves them as they are.
    compiled: layers as torch.compile gives them, used for updates on batches of the first one's
    shape; None: never. draws, puts_channels_last: see Passes.
    """

    def __init__(
        self,
        layers: nn.Sequential,
        *,
        has_below: bool,
        autocast: torch.dtype | None = None,
        compiled: Layers | None = None,
        draws: Draws | None = None,
        puts_channels_last: bool = False,
    ) -> None:
        self.layers = layers
        self._has_below = has_below
        self._passes = Passes(
            layers, autocast=autocast, draws=draws, puts_channels_last=puts_channels_last
        )
        self._is_reentrant: bool | None = None  # until the first training forward with a graph
        self._gives_values: bool | None = None  # rather than one tensor; until the first
        self._compiled = compiled
        self._compiled_shapes: list[torch.Size] | None = None
        self._dense = None
        if compiled is None:
            self._dense = DenseLayers.match(layers, autocast)

    @property
    def keeps_late_graphs(self) -> bool:
        """Whether a graph can wait while updates are made.

        What compiled layers keep has weights in forms of their own, or lies, on a GPU, in memory
        that their next run writes again.
        """
        return self._compiled is None

    def evaluate(self, inputs: Hidden) -> Hidden:
        """The activation [B, ...] of inputs [B, ...] in evaluation mode."""
        self._set_training(is_training=False)
        with torch.no_grad():
            return self._passes.run(0, inputs, to_inputs=False)

    def preview(
        self, batch_id: int, inputs: Hidden, *, needs_input_gradient: bool
    ) -> tuple[Kept, Hidden]:
        """The activation in training mode, with no more kept than what replays it.

        Of several values a graph tells which need a gradient; it is dropped at once.
        """
        self._set_training(is_training=True)
        needs_graph = self._gives_values is not False
        if needs_graph:
            _require(inputs, needs_input_gradient)
        with torch.set_grad_enabled(needs_graph):
            outputs = self._passes.run(
                batch_id, inputs, keeps_state=True, to_inputs=needs_input_gradient
            )
        self._gives_values = bool(self._gives_values) or isinstance(outputs, Values)
        activation = each(outputs, torch.Tensor.detach)
        return Kept(batch_id, inputs, needs_input_gradient), activation

    def forward(
        self,
        batch_id: int,
        inputs: Hidden,
        *,
        needs_input_gradient: bool,
        keeps_state: bool = False,
        is_replay: bool = False,
        is_late: bool = False,
    ) -> Kept:
        """Run inputs [B, ...] in training mode and keep what a backward needs.

        keeps_state: and, until forget, what carry_back needs beside the inputs. is_replay: the
        batch has been run before; statistics and other state do not count it again. is_late: other
        updates come before the backward, which goes through the weights of its time; only where
        keeps_late_graphs.
        """
        self._set_training(is_training=True)
        dense = self._dense
        if dense is not None and isinstance(inputs, torch.Tensor) and dense.takes(inputs):
            tensors = dense.forward(inputs)
            return Kept(batch_id, inputs, needs_input_gradient, dense=tensors, is_late=is_late)
        # A value that only passes through needs a gradient if its own will ever be asked for.
        wants_own = needs_input_gradient or (keeps_state and self._gives_values is not False)
        is_leaf = self._has_below and self._is_reentrant is not False
        _require(inputs, wants_own or is_leaf)
        compiled = self._compiled_for(inputs)
        with self._passes.late_graph() if is_late else nullcontext():
            outputs = self._passes.run(
                batch_id,
                inputs,
                compiled=compiled,
                keeps_state=keeps_state,
                is_replay=is_replay,
                to_inputs=wants_own,
            )
        if self._is_reentrant is None:
            self._is_reentrant = is_reentrant(outputs)
        self._gives_values = bool(self._gives_values) or isinstance(outputs, Values)
        return Kept(batch_id, inputs, needs_input_gradient, outputs=outputs)

    def pull_back(self, kept: Kept, gradient: Gradient) -> Gradient | None:
        """Leave the parameters' gradients in them; the gradient of the inputs if it is needed.

        gradient [B, ...]: of the activation. A batch of which only inputs are kept is replayed
        through the present weights.
        """
        self._set_training(is_training=True)
        if kept.outputs is None and kept.dense is None:
            kept = self.forward(
                kept.batch_id,
                kept.inputs,
                needs_input_gradient=kept.needs_input_gradient,
                is_replay=True,
            )
        if kept.dense is None:
            return _pull_back_graph(kept, gradient)
        assert self._dense is not None
        assert isinstance(gradient, torch.Tensor)
        assert isinstance(kept.inputs, torch.Tensor)
        of_inputs = self._dense.pull_back(
            kept.dense,
            gradient,
            to_parameters=True,
            to_inputs=kept.needs_input_gradient,
            is_late=kept.is_late,
        )
        return None if of_inputs is None else of_inputs.to(kept.inputs.dtype)

    def carry_back(self, batch_id: int, inputs: Hidden, gradient: Gradient) -> Gradient:
        """The gradient of inputs alone, replayed through the present weights."""
        self._set_training(is_training=True)
        dense = self._dense
        if dense is not None and isinstance(inputs, torch.Tensor) and dense.takes(inputs):
            assert isinstance(gradient, torch.Tensor)
            tensors = dense.forward(inputs)
            carried = dense.pull_back(tensors, gradient, to_parameters=False, to_inputs=True)
            assert carried is not None
            return carried.to(inputs.dtype)
        _require(inputs, True)
        outputs = self._passes.run(batch_id, inputs, is_replay=True)
        return _of_inputs(inputs, self._pull_through(outputs, gradient, inputs))

    def forget(self, batch_id: int) -> None:
        """The batch will not be replayed any more."""
        self._passes.forget(batch_id)

    def _pull_through(
        self, outputs: Hidden, gradient: Gradient, inputs: Hidden
    ) -> Sequence[torch.Tensor | None]:
        """No parameter gets a gradient; None where outputs do not depend on an input."""
        leaves, ends = needing(inputs), needing(outputs)
        gradients = gradients_of(laid_out_as(gradient, outputs))
        if not self._is_reentrant:
            return pull_through(ends, gradients, leaves)
        pull_back(ends, gradients)  # a checkpoint works for no part of the leaves alone
        for parameter in self.layers.parameters():
            parameter.grad = None
        return [leaf.grad for leaf in leaves]

    def _set_training(self, *, is_training: bool) -> None:
        if self.layers.training is not is_training:
            self.layers.train(is_training)

    def _compiled_for(self, inputs: Hidden) -> Layers | None:
        """The compiled layers, unless a ragged last batch would compile them once more."""
        if self._compiled is None:
            return None
        shapes = [tensor.shape for tensor in tensors_of(inputs)]
        if self._compiled_shapes is None:
            self._compiled_shapes = shapes
        return self._compiled if shapes == self._compiled_shapes else None


def _require(inputs: Hidden, is_needed: bool) -> None:
    """Have the inputs that may get a gradient require one, or not."""
    for tensor in needing(inputs):
        tensor.requires_grad_(is_needed and tensor.is_floating_point())


def _of_inputs(inputs: Hidden, found: Sequence[torch.Tensor | None]) -> Gradient:
    """The gradient of inputs: what was found, and zeros where outputs do not depend on them."""
    leaves = needing(inputs)
    return as_gradient(
        inputs,
        [
            torch.zeros_like(leaf) if grad is None else grad
            for leaf, grad in zip(leaves, found, strict=True)
        ],
    )


def _pull_back_graph(kept: Kept, gradient: Gradient) -> Gradient | None:
    """Leave the gradients of a kept graph; the gradient of its inputs, if that is needed."""
    assert kept.outputs is not None
    pull_back(needing(kept.outputs), gradients_of(laid_out_as(gradient, kept.outputs)))
    if not kept.needs_input_gradient:
        return None
    return _of_inputs(kept.inputs, [leaf.grad for leaf in needing(kept.inputs)])
