"""5x5 convolutions for images: the paper's synthesizer of its CNNs (Jaderberg et al. 2016, 3.1).

Hidden layers of convolution, BatchNorm and ReLU, then a convolution that starts at zero. The
code of the targets adds a bias to every filter of the first convolution: a label one of its own,
which is what a plane of ones for its class does, but for the border. docs/rules.md says what it
costs.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from dni_async.errors import ConfigError
from dni_async.stage.losses.interface import Encoding
from dni_async.synthesizers.interface import MakeOptimizer, Order, Synthesizer

__all__ = ["ConvSynthesizer", "make_conv"]


class ConvSynthesizer:
    """For activations [B, C, H, W]; shape: (C, H, W).

    encoding: of the targets, None to ignore them. layers: hidden ones, each of width filters;
    width None: as many as the activation has channels.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        encoding: Encoding | None,
        optimize: MakeOptimizer,
        *,
        layers: int = 2,
        width: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        sizes = [shape[0], *[width or shape[0]] * layers]
        parts: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            parts += [nn.Conv2d(fan_in, fan_out, 5, padding=2), nn.BatchNorm2d(fan_out), nn.ReLU()]
        last = nn.Conv2d(sizes[-1], shape[0], 5, padding=2)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*parts, last).to(device)
        first = self.network[0]
        assert isinstance(first, nn.Conv2d)
        self._encoding = encoding
        code_width = 0 if encoding is None else encoding.width
        self.code_bias = torch.zeros(code_width, first.out_channels, device=device)
        if layers:  # with none, the first convolution is the last one, which starts at zero
            bound = first.weight[0].numel() ** -0.5
            self.code_bias.uniform_(-bound, bound)
        self.code_bias.requires_grad_()
        self._optimizer = optimize(self.parameters)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Of the convolutions and normalisations, and V [W, F] if conditioned."""
        conditioned = [] if self._encoding is None else [self.code_bias]
        return [*self.network.parameters(), *conditioned]

    @torch.no_grad()
    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient [B, C, H, W] in per-sample units.

        Zero for a batch of one value per channel, which BatchNorm cannot normalise.
        """
        return self._run(hidden, targets) if self._takes(hidden) else torch.zeros_like(hidden)

    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor | None:
        """One update on the mean squared error; a batch of one value per channel is passed over."""
        if not self._takes(hidden):
            return None
        prediction = self._run(hidden, targets)
        torch.autograd.backward(functional.mse_loss(prediction, returned))
        self._optimizer.update()
        return prediction.detach()

    def _takes(self, hidden: torch.Tensor) -> bool:
        return len(self.network) == 1 or hidden[:, 0].numel() > 1

    def _run(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.network[0](hidden)
        if self._encoding is not None:
            outputs = outputs + self._encoding.select(self.code_bias, targets)[:, :, None, None]
        for part in list(self.network)[1:]:
            outputs = part(outputs)
        return outputs


def make_conv(order: Order) -> Synthesizer:
    """The one that order asks for. Raises ConfigError where activations are no images."""
    if len(order.shape) != 3:
        here = ", ".join(["B", *map(str, order.shape)])
        raise ConfigError(
            f"synthesizer: conv needs activations [B, C, H, W], but these are [{here}]"
        )
    return ConvSynthesizer(
        order.shape,
        order.encoding,
        order.optimize,
        layers=order.hidden_layers,
        width=order.config.synthesizer_width,
        device=order.device,
    )
