"""The numbers of one stage: forward, pull a gradient back through its layers, update.

Knows torch and nothing of messages, windows or neighbours.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from dni_async.errors import NonFiniteError
from dni_async.stage.descent.updates import Updates
from dni_async.stage.layers import Kept, StageLayers
from dni_async.stage.losses.interface import Loss
from dni_async.stage.own_state import is_extra, marks_of
from dni_async.stage.values import Gradient, Hidden, each, gathered, gradients_of

__all__ = ["Stage"]


class Stage:
    """A slice of the network with its optimizer; made for a run by stage.making.

    What an update needs of a batch is kept from its forward on.
    loss: what the head computes, and what targets are on their way there. checks_gradients:
    whether pull_back looks for NaN and infinity.
    """

    def __init__(
        self,
        index: int,
        layers: StageLayers,
        updates: Updates,
        *,
        loss: Loss,
        checks_gradients: bool = True,
    ) -> None:
        self.index = index
        self.updates = updates
        self._layers = layers
        self.loss = loss
        self._checks_gradients = checks_gradients
        # Of what modules keep beside their weights, as built.
        self.marks = marks_of(layers.layers)
        self._kept: dict[int, Kept] = {}
        self._carried: dict[int, Hidden] = {}

    @property
    def layers(self) -> nn.Sequential:
        """Its slice of the network."""
        return self._layers.layers

    @property
    def version(self) -> int:
        """How many updates it has made."""
        return self.updates.version

    def forward(
        self,
        batch_id: int,
        inputs: Hidden,
        *,
        needs_input_gradient: bool,
        keeps_graph: bool = True,
        keeps_inputs: bool = False,
        is_late: bool = False,
    ) -> Hidden:
        """The activation [B, ...] of inputs [B, ...], detached: a tensor, or several values.

        Inputs of the whole network may be any that it takes, tuples and dicts of tensors too.
        keeps_graph: hold the graph for update; else hold the inputs alone, which update replays.
        keeps_inputs: hold the inputs beyond the update, for carry_back. is_late: other updates
        come before this batch's, whose graph then goes through the weights of that time; where
        graphs cannot wait, the inputs alone are held. Each batch that is kept comes to an update
        before this one's does; see Updates.ahead.
        """
        inputs = gathered(inputs)
        if keeps_inputs:
            self._carried[batch_id] = each(inputs, torch.Tensor.detach)
        with self.updates.ahead(len(self._kept)):
            if not keeps_graph or (is_late and not self._layers.keeps_late_graphs):
                kept, activation = self._layers.preview(
                    batch_id, inputs, needs_input_gradient=needs_input_gradient
                )
            else:
                kept = self._layers.forward(
                    batch_id,
                    inputs,
                    needs_input_gradient=needs_input_gradient,
                    keeps_state=keeps_inputs,
                    is_late=is_late,
                )
                activation = kept.activation
        self._kept[batch_id] = kept
        return activation

    def evaluate(self, inputs: Hidden) -> Hidden:
        """The activation of inputs in evaluation mode; nothing is kept."""
        return self._layers.evaluate(gathered(inputs))

    def loss_gradient(self, batch_id: int, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Head only: the mean loss of a kept batch, and its gradient, shaped as the outputs.

        The head never replays, so what it gave is kept. Raises NonFiniteError.
        """
        outputs = self._kept[batch_id].activation
        assert isinstance(outputs, torch.Tensor)  # the network was tried
        value, gradient = self.loss.gradient(outputs, targets)
        if not math.isfinite(value):
            raise NonFiniteError(self.index, batch_id, "loss")
        return value, gradient

    def update(self, batch_id: int, gradient: Gradient, *, source: str) -> Gradient | None:
        """Pull gradient [B, ...] of a kept batch's activation back, then apply; see both."""
        input_gradient = self.pull_back(batch_id, gradient, source=source)
        self.apply()
        return input_gradient

    def pull_back(self, batch_id: int, gradient: Gradient, *, source: str) -> Gradient | None:
        """Turn gradient [B, ...] of a kept batch's activation into gradients of the parameters.

        Of several values there is one for each that needs it, in order. A batch kept without its
        graph is replayed through the present weights. source names the gradient in an error.
        Returns the gradient of the inputs if forward was told that it is needed. Raises
        NonFiniteError, and then nothing may be applied.
        """
        input_gradient = self._layers.pull_back(self._kept.pop(batch_id), gradient)
        if self._checks_gradients:
            self._check_finite(batch_id, gradient, source)
        return input_gradient

    def carry_back(self, batch_id: int, gradient: Gradient, *, source: str) -> Gradient:
        """The gradient of a batch's inputs, from the gradient [B, ...] of its activation.

        The inputs kept by forward are replayed through the present weights (Features Replay, Huo
        et al. 2018), which have moved on; running statistics do not count them again. No
        parameter gets a gradient. Raises NonFiniteError.
        """
        carried = self._layers.carry_back(batch_id, self._carried.pop(batch_id), gradient)
        if not all(map(_is_finite, gradients_of(carried))):
            self.check_gradient(batch_id, gradient, source)  # the cause, if it is upstream
            raise NonFiniteError(self.index, batch_id, "gradient of the inputs")
        return carried

    def forget(self, batch_id: int) -> None:
        """Drop what is kept of a batch, if anything is."""
        self._kept.pop(batch_id, None)
        self._carried.pop(batch_id, None)
        self._layers.forget(batch_id)

    def apply(self, *, rate: float = 1.0, is_scheduled: bool = True) -> None:
        """Update the parameters with the gradients that pull_back left; see Updates.apply."""
        self.updates.apply(rate=rate, is_scheduled=is_scheduled)

    def discard(self) -> None:
        """Make no update: drop the gradients that pull_back left."""
        self.updates.discard()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights, buffers and what the optimizer remembers, as ``KIND/NAME``; not copied."""
        weights = {
            f"weights/{name}": tensor
            for name, tensor in self.layers.state_dict().items()
            if not is_extra(name)
        }
        return weights | self.updates.tensors()

    def check_gradient(self, batch_id: int, gradient: Gradient, source: str) -> None:
        """Raises NonFiniteError if gradient has a NaN or an infinity."""
        if not all(map(_is_finite, gradients_of(gradient))):
            raise NonFiniteError(self.index, batch_id, source)

    def _check_finite(self, batch_id: int, gradient: Gradient, source: str) -> None:
        named = [(n, p.grad) for n, p in self.updates.named_parameters if p.grad is not None]
        if _all_sums_finite([each[1] for each in named]):
            return
        for name, of_parameter in named:
            if not _is_finite(of_parameter):
                self.check_gradient(batch_id, gradient, source)  # the cause, if it is upstream
                raise NonFiniteError(self.index, batch_id, f"gradient of {name}")


def _all_sums_finite(tensors: list[torch.Tensor]) -> bool:
    """Read from the device at once: a wait for it takes longer than the sums."""
    if not tensors:
        return True
    return all(map(math.isfinite, torch.stack([tensor.sum() for tensor in tensors]).tolist()))


def _is_finite(tensor: torch.Tensor) -> bool:
    # One pass: a sum is finite unless a term is not; an overflowing sum is looked at again.
    return math.isfinite(tensor.sum().item()) or bool(torch.isfinite(tensor).all())
