"""A copy of what lies above a boundary, whose own loss, differentiated, is the synthetic gradient.

f is a way from the activation to the network's outputs: copies of the next layers above, if asked
for, and of the readout at the end; see network.above. They begin with the weights that the network
is drawn with and then learn by the run's own loss from the targets of every batch: o = f(h), e =
dL/do, g = e df/dh. So f reads out what the layers above can read out, and is deaf to what they do
not see. Copies of the next block as local heads: MAN (Su et al. 2024, 2407.05623); a shared final
readout: SOLO (2609.35440); trained by targets alone: decoupled greedy learning (Belilovsky et al.
2019, 1901.08164). Returned gradients teach it nothing. Cost: three products of f for a batch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from dni_async.stage.losses.interface import Loss
from dni_async.synthesizers.interface import MakeOptimizer

__all__ = ["CopySynthesizer"]


class CopySynthesizer:
    """For whole activations [B, ...] with whatever targets the loss takes, [B, T] too.

    network: f, which is this synthesizer's own from now on. autocast: the dtype of its matrix
    products; None leaves them as they are.
    """

    takes_any_size = True  # where the layers above do

    def __init__(
        self,
        network: nn.Sequential,
        loss: Loss,
        optimize: MakeOptimizer,
        *,
        autocast: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.network = network.to(device).train()
        self._loss, self._autocast = loss, autocast
        self._weights: list[torch.Tensor] = [p for p in network.parameters() if p.requires_grad]
        self._optimizer = optimize(self._weights)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Of f: weights, those that stay too, and buffers, such as running statistics."""
        return [*self.network.parameters(), *self.network.buffers()]

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [B, ...], per-sample units; then f takes one update."""
        inputs, outputs, error = self._read_out(hidden, targets)
        own, *gradients = torch.autograd.grad(
            outputs, [inputs, *self._weights], error, allow_unused=True
        )
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient
        self._optimizer.update()
        return self._by_sample(own, inputs, targets)

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor:
        """The synthetic gradient, to be compared with returned [B, ...]; nothing is learnt."""
        inputs, outputs, error = self._read_out(hidden, targets)
        (own,) = torch.autograd.grad(outputs, [inputs], error, allow_unused=True)
        return self._by_sample(own, inputs, targets)

    def _read_out(
        self, hidden: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The activation as autograd's leaf, the outputs, and e, of the mean loss."""
        inputs = hidden.detach().requires_grad_()
        with torch.enable_grad(), self._computing(hidden.device):
            outputs: torch.Tensor = self.network(inputs.clone())  # modules may write into it
        return inputs, outputs, self._loss.gradient(outputs.detach(), targets)[1]

    def _computing(self, device: torch.device) -> AbstractContextManager[object]:
        if self._autocast is None:
            return nullcontext()
        return torch.autocast(device.type, self._autocast)

    def _by_sample(
        self, gradient: torch.Tensor | None, inputs: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Times the number of samples; zero where outputs do not depend on the activation."""
        if gradient is None:
            return torch.zeros_like(inputs)
        count = targets.shape[: self._loss.sample_dims(targets)].numel()
        return gradient * count
