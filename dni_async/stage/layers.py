"""A stage's layers forwards and backwards, by the fastest way that gives the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dni_async.stage.autograd import pull_back, pull_through
from dni_async.stage.dense import DenseLayers
from dni_async.stage.draws import Draws
from dni_async.stage.passes import Layers, Passes, is_reentrant

__all__ = ["Kept", "StageLayers"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backward needs of a batch: its graph, or what DenseLayers computed, or inputs only."""

    batch_id: int
    inputs: torch.Tensor
    needs_input_gradient: bool
    outputs: torch.Tensor | None = None
    dense: list[torch.Tensor] | None = None

    @property
    def activation(self) -> torch.Tensor:
        """What the forward gave, detached; there must have been more kept than the inputs."""
        if self.dense is not None:
            return self.dense[-1]
        assert self.outputs is not None
        return self.outputs.detach()


class StageLayers:
    """Computes with layers; has_below: whether another stage's activations are the inputs.

    autocast: the dtype of matrix products (torch.autocast); None leaves them as they are.
    compiled: layers as torch.compile gives them, used for updates on batches of the first one's
    shape; None: never. draws: see Passes.
    """

    def __init__(
        self,
        layers: nn.Sequential,
        *,
        has_below: bool,
        autocast: torch.dtype | None = None,
        compiled: Layers | None = None,
        draws: Draws | None = None,
    ) -> None:
        self.layers = layers
        self._has_below = has_below
        self._passes = Passes(layers, autocast=autocast, draws=draws)
        self._is_reentrant: bool | None = None  # until the first training forward with a graph
        self._compiled = compiled
        self._compiled_shape: torch.Size | None = None
        self._dense = None
        if autocast is None and compiled is None:
            self._dense = DenseLayers.match(layers)

    def evaluate(self, inputs: torch.Tensor) -> torch.Tensor:
        """The activation [B, ...] of inputs [B, ...] in evaluation mode."""
        self._set_training(is_training=False)
        with torch.no_grad():
            return self._passes.run(0, inputs)

    def preview(
        self, batch_id: int, inputs: torch.Tensor, *, needs_input_gradient: bool
    ) -> tuple[Kept, torch.Tensor]:
        """The activation in training mode, with no more kept than what replays it."""
        self._set_training(is_training=True)
        with torch.no_grad():
            activation = self._passes.run(batch_id, inputs, keeps_state=True)
        return Kept(batch_id, inputs, needs_input_gradient), activation

    def forward(
        self,
        batch_id: int,
        inputs: torch.Tensor,
        *,
        needs_input_gradient: bool,
        keeps_state: bool = False,
        is_replay: bool = False,
    ) -> Kept:
        """Run inputs [B, ...] in training mode and keep what a backward needs.

        keeps_state: and, until forget, what carry_back needs beside the inputs. is_replay: the
        batch has been run before; statistics and other state do not count it again.
        """
        self._set_training(is_training=True)
        if self._dense is not None and self._dense.takes(inputs):
            dense = self._dense.forward(inputs)
            return Kept(batch_id, inputs, needs_input_gradient, dense=dense)
        may_be_leaf = self._has_below and inputs.is_floating_point()
        is_leaf = may_be_leaf and self._is_reentrant is not False
        inputs.requires_grad_(needs_input_gradient or is_leaf)
        compiled = self._compiled_for(inputs)
        outputs = self._passes.run(
            batch_id, inputs, compiled=compiled, keeps_state=keeps_state, is_replay=is_replay
        )
        if self._is_reentrant is None:
            self._is_reentrant = is_reentrant(outputs)
        return Kept(batch_id, inputs, needs_input_gradient, outputs=outputs)

    def pull_back(self, kept: Kept, gradient: torch.Tensor) -> torch.Tensor | None:
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
        return self._dense.pull_back(
            kept.dense, gradient, to_parameters=True, to_inputs=kept.needs_input_gradient
        )

    def carry_back(
        self, batch_id: int, inputs: torch.Tensor, gradient: torch.Tensor
    ) -> torch.Tensor:
        """The gradient of inputs alone, replayed through the present weights."""
        self._set_training(is_training=True)
        if self._dense is not None and self._dense.takes(inputs):
            tensors = self._dense.forward(inputs)
            carried = self._dense.pull_back(tensors, gradient, to_parameters=False, to_inputs=True)
        else:
            outputs = self._passes.run(batch_id, inputs.requires_grad_(), is_replay=True)
            carried = self._pull_through(outputs, gradient, inputs)
        return torch.zeros_like(inputs) if carried is None else carried

    def forget(self, batch_id: int) -> None:
        """The batch will not be replayed any more."""
        self._passes.forget(batch_id)

    def _pull_through(
        self, outputs: torch.Tensor, gradient: torch.Tensor, inputs: torch.Tensor
    ) -> torch.Tensor | None:
        """No parameter gets a gradient; None where outputs do not depend on inputs."""
        if not self._is_reentrant:
            return pull_through(outputs, gradient, inputs)
        pull_back(outputs, gradient)  # a checkpoint works for no part of the leaves alone
        for parameter in self.layers.parameters():
            parameter.grad = None
        return inputs.grad

    def _set_training(self, *, is_training: bool) -> None:
        if self.layers.training is not is_training:
            self.layers.train(is_training)

    def _compiled_for(self, inputs: torch.Tensor) -> Layers | None:
        """The compiled layers, unless a ragged last batch would compile them once more."""
        if self._compiled_shape is None:
            self._compiled_shape = inputs.shape
        return self._compiled if inputs.shape == self._compiled_shape else None


def _pull_back_graph(kept: Kept, gradient: torch.Tensor) -> torch.Tensor | None:
    """Leave the gradients of a kept graph; the gradient of its inputs, if that is needed.

    Layers that were all skipped have no graph; what the outputs do not depend on gets zeros.
    """
    assert kept.outputs is not None
    if kept.outputs.requires_grad:
        pull_back(kept.outputs, gradient)
    if not kept.needs_input_gradient:
        return None
    return torch.zeros_like(kept.inputs) if kept.inputs.grad is None else kept.inputs.grad
