"""A critic with hidden layers: where a linear readout asks too much of the activation.

An auxiliary network deeper than a classifier, as decoupled greedy learning has it (Belilovsky et
al. 2019, 1901.08164): LayerNorm, hidden layers with GELU, K outputs. With f for all that, e = dL/do
by the run's own loss at o = f(h) and J = df/dh, the synthetic gradient is g = e (J + B). f learns
by that loss from the targets of every batch, B (zero at the start) from returned gradients.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from dni_async.stage.losses.interface import Readout
from dni_async.synthesizers.correction import Correction
from dni_async.synthesizers.interface import MakeOptimizer

__all__ = ["DeepCriticSynthesizer"]


class DeepCriticSynthesizer:
    """num_units: D, the values of one sample. The loss says what is read out, K outputs.

    layers: hidden ones, each of width units (None: D).
    """

    def __init__(
        self,
        num_units: int,
        loss: Readout,
        optimize: MakeOptimizer,
        *,
        layers: int = 1,
        width: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        parts: list[nn.Module] = [nn.LayerNorm(num_units)]
        sizes = [num_units, *[width or num_units] * layers]
        for fan_in, fan_out in pairwise(sizes):
            parts += [nn.Linear(fan_in, fan_out), nn.GELU()]
        parts.append(nn.Linear(sizes[-1], loss.readout_size))
        self.network = nn.Sequential(*parts).to(device)
        self.correction = Correction(loss.readout_size, num_units, device=device)
        self._loss = loss
        self._weights: list[torch.Tensor] = list(self.network.parameters())
        self._readout_optimizer = optimize(self._weights)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Weights and biases of f, then the correction's."""
        return [*self._weights, *self.correction.parameters]

    @property
    def is_corrected(self) -> torch.Tensor:
        """1 where B is used, else 0."""
        return self.correction.is_used

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [N, ...], per-sample units; then f takes one update."""
        inputs, outputs, error = self._read_out(hidden, targets)
        gradients = torch.autograd.grad(outputs, [inputs, *self._weights], error)
        for weight, gradient in zip(self._weights, gradients[1:], strict=True):
            weight.grad = gradient.div_(len(inputs))
        self._readout_optimizer.update()
        return (gradients[0] + self.correction.of(error.t())).view(hidden.shape)

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor:
        """One lesson of B from returned [N, ...], f held fixed."""
        inputs, outputs, error = self._read_out(hidden, targets)
        (own,) = torch.autograd.grad(outputs, inputs, error)
        return self.correction.learn(error.t(), own, returned.flatten(1)).view(hidden.shape)

    def compare(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [N, ...] without B; nothing is learnt."""
        inputs, outputs, error = self._read_out(hidden, targets)
        return torch.autograd.grad(outputs, inputs, error)[0].view(hidden.shape)

    def _read_out(
        self, hidden: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The activation as autograd's leaf, the outputs [N, K], and e [N, K]."""
        inputs = hidden.detach().flatten(1).requires_grad_()
        outputs: torch.Tensor = self.network(inputs)
        return inputs, outputs, self._loss.sample_gradients(outputs.detach(), targets, dim=1)
