"""Predicts a stage's input from the samples: the synthetic input of the complete unlock.

I(x) = W2 relu(W1 x + b1) + b2 with samples x flattened (Jaderberg et al. 2016, 1608.05343), trained
by Adam on the mean squared error to what the stage below made of them. It sees no labels: a stage's
input depends on none, and what they would add in training is not there when the network is used.
What was tried is in docs/decisions/0023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from dni_async.errors import LinkError
from dni_async.stage.dense import DenseLayers
from dni_async.stage.descent.optimizers import Adam, Optimizer

__all__ = ["InputSynthesizer", "make_input_synthesizer"]

HIDDEN_UNITS = 256
LR = 1e-3


class InputSynthesizer:
    """sample_shape, input_shape: of one sample, and of what the stage below makes of it."""

    def __init__(
        self,
        sample_shape: Sequence[int],
        input_shape: Sequence[int],
        optimize: Callable[[list[torch.Tensor]], Optimizer],
        *,
        hidden_units: int = HIDDEN_UNITS,
        device: torch.device | None = None,
    ) -> None:
        self.network = nn.Sequential(
            nn.Linear(math.prod(sample_shape), hidden_units),
            nn.ReLU(),
            nn.Linear(hidden_units, math.prod(input_shape)),
        ).to(device)
        dense = DenseLayers.match(self.network)
        assert dense is not None
        self._dense = dense
        self._shape = tuple(input_shape)
        self._optimizer = optimize(list(self.network.parameters()))

    def predict(self, samples: torch.Tensor) -> torch.Tensor:
        """The synthetic input [B, *input_shape] float32 of samples [B, *sample_shape]."""
        return self._dense.forward(samples.flatten(1))[-1].view(-1, *self._shape)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Parameters and what the optimizer remembers, by name; not copied."""
        found = {f"weights/{name}": p.detach() for name, p in self.network.named_parameters()}
        names = [name for name, _ in self.network.named_parameters()]
        for name, remembered in zip(names, self._optimizer.tensors(), strict=True):
            found |= {f"{kind}/{name}": tensor for kind, tensor in remembered.items()}
        return found

    @torch.no_grad()
    def learn(self, samples: torch.Tensor, activation: torch.Tensor) -> None:
        """One update on the mean squared error to the activation [B, *input_shape] of samples.

        Raises LinkError for an activation of another shape.
        """
        if activation.shape != (len(samples), *self._shape):
            raise LinkError(
                f"the activation is {list(activation.shape)}, but the samples make "
                f"{[len(samples), *self._shape]}"
            )
        tensors = self._dense.forward(samples.flatten(1))
        error = tensors[-1].sub(activation.flatten(1)).mul_(2 / activation.numel())
        self._dense.pull_back(tensors, error, to_parameters=True, to_inputs=False)
        self._optimizer.update()


def make_input_synthesizer(
    sample_shape: Sequence[int], input_shape: Sequence[int], device: torch.device
) -> InputSynthesizer:
    """A run's input synthesizer at one boundary, on the stage's device."""

    def optimize(parameters: list[torch.Tensor]) -> Optimizer:
        return Adam(parameters, lr=LR)

    return InputSynthesizer(sample_shape, input_shape, optimize, device=device)
