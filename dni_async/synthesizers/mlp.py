"""Hidden layers with BatchNorm, two of 1024 units: the paper's DNI (Jaderberg et al. 2016, 3.1).

Far dearer than the layer it serves (24 times the forward product of a layer of 256 units), so it
is here to reproduce published results, not to be fast.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from dni_async.stage.losses.interface import Encoding
from dni_async.synthesizers.interface import MakeOptimizer, Order, Synthesizer

__all__ = ["MlpSynthesizer", "make_mlp"]

HIDDEN_UNITS = 1024


class MlpSynthesizer:
    """num_units: D, the values of one sample. encoding: of the targets, None to ignore them.

    layers: hidden ones, each of width units; with none it is linear. The last layer starts at zero.
    """

    def __init__(
        self,
        num_units: int,
        encoding: Encoding | None,
        optimize: MakeOptimizer,
        *,
        layers: int = 2,
        width: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._encoding = encoding
        code_width = 0 if encoding is None else encoding.width
        sizes = [num_units + code_width, *[width or HIDDEN_UNITS] * layers]
        parts: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            parts += [nn.Linear(fan_in, fan_out), nn.BatchNorm1d(fan_out), nn.ReLU()]
        last = nn.Linear(sizes[-1], num_units)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*parts, last).to(device)
        self._optimizer = optimize(self.parameters)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Weights and biases of the layers and the normalisations."""
        return list(self.network.parameters())

    @torch.no_grad()
    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [N, ...] in per-sample units.

        Zero for a batch of one sample, which BatchNorm cannot normalise.
        """
        if not self._takes(hidden):
            return torch.zeros_like(hidden)
        return self._run(hidden, targets).view(hidden.shape)

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor | None:
        """One update on the mean squared error; a batch of one sample is passed over."""
        if not self._takes(hidden):
            return None
        prediction = self._run(hidden, targets)
        torch.autograd.backward(functional.mse_loss(prediction, returned.flatten(1)))
        self._optimizer.update()
        return prediction.detach().view(hidden.shape)

    def _takes(self, hidden: torch.Tensor) -> bool:
        return len(self.network) == 1 or len(hidden) > 1

    def _run(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        inputs = hidden.flatten(1)
        if self._encoding is not None:
            inputs = torch.cat([inputs, self._encoding.codes(targets)], dim=1)
        gradient: torch.Tensor = self.network(inputs)
        return gradient


def make_mlp(order: Order) -> Synthesizer:
    """The one that order asks for."""
    return MlpSynthesizer(
        order.num_units,
        order.encoding,
        order.optimize,
        layers=order.hidden_layers,
        width=order.config.synthesizer_width,
        device=order.device,
    )
