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

from dni_async.stage.autograd import pull_back
from dni_async.stage.losses.interface import Loss
from dni_async.synthesizers.critic import LinearReadout
from dni_async.synthesizers.interface import MakeOptimizer

__all__ = ["CopySynthesizer", "LinearCopy"]


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
        gradient = self._differentiate(hidden, targets)
        self._optimizer.update()
        return gradient

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor:
        """The synthetic gradient, to be compared with returned [B, ...]; nothing is learnt."""
        gradient = self._differentiate(hidden, targets)
        for weight in self._weights:
            weight.grad = None
        return gradient

    def _differentiate(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient; that of the mean loss by f's weights is left in them."""
        inputs = hidden.detach().requires_grad_()
        with torch.enable_grad(), self._computing(hidden.device):
            outputs: torch.Tensor = self.network(inputs.clone())  # modules may write into it
        error = self._loss.gradient(outputs.detach(), targets)[1]
        pull_back([outputs], [error])  # to leaves: a reentrant checkpoint in a copy asks for that
        if inputs.grad is None:  # outputs do not depend on the activation
            return torch.zeros_like(inputs)
        num_samples = targets.shape[: self._loss.sample_dims(targets)].numel()
        return inputs.grad.mul_(num_samples)

    def _computing(self, device: torch.device) -> AbstractContextManager[object]:
        if self._autocast is None:
            return nullcontext()
        return torch.autocast(device.type, self._autocast)


class LinearCopy:
    """The same where f is one linear layer, o = h W' + b, by a critic's products.

    For [B, ...], or [B, T, D] where each position has a label. It takes a third of the time, with
    no graph, and outputs [K, N] whose rows are long.
    """

    takes_any_float = True

    def __init__(
        self,
        linear: nn.Linear,
        loss: Loss,
        optimize: MakeOptimizer,
        *,
        device: torch.device | None = None,
    ) -> None:
        linear.to(device)
        self._loss = loss
        self._readout = LinearReadout(linear.weight, linear.bias, loss, optimize)
        self.parameters = self._readout.parameters

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [B, ...], per-sample units; then f takes one update."""
        return self._readout.predict(*self._samples(hidden, targets)).view(hidden.shape)

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor:
        """The synthetic gradient, to be compared with returned [B, ...]; nothing is learnt."""
        return self._readout.compare(*self._samples(hidden, targets)).view(hidden.shape)

    def _samples(
        self, hidden: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        last = self._loss.sample_dims(targets) - 1
        return hidden.flatten(0, last), targets.flatten(0, last)
