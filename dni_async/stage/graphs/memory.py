"""In what order the numbers of images and maps lie in memory, which convolutions are faster by.

Channels last is PyTorch's name for maps [B, C, H, W] whose channels lie beside each other
(torch.channels_last). Shapes and meaning stay; a layer that asks for a view of the memory in the
other order (``x.view(len(x), -1)``, where reshape or flatten would do) fails.
"""

from __future__ import annotations

import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.stage.values import Gradient, Hidden, as_gradient, each, gradients_of, needing

__all__ = ["channels_last", "has_maps", "laid_out_as", "lay_out", "puts_channels_last"]

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def puts_channels_last(config: RunConfig) -> bool:
    """Whether the run's stages and baseline compute so; "auto" is decided before the start."""
    return config.memory_format == "channels-last"


def has_maps(network: nn.Module) -> bool:
    """Whether a layer of it, however deep inside, convolves maps [B, C, H, W]."""
    return any(isinstance(module, _CONVOLUTIONS) for module in network.modules())


def lay_out(layers: nn.Module) -> None:
    """Have the weights of convolutions [C, c, h, w] channels last, in place."""
    layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def channels_last(hidden: Hidden) -> Hidden:
    """The values, those that can be maps channels last; what is so already is not copied."""
    return each(hidden, _map_channels_last)


def laid_out_as(gradient: Gradient, outputs: Hidden) -> Gradient:
    """The gradient of outputs with its maps in the memory's order of theirs.

    A gradient that came from another stage lies row by row. Backward kernels add up in another
    order for such a one, so that the numbers were not those of the network in one piece.
    """
    pairs = zip(gradients_of(gradient), needing(outputs), strict=True)
    return as_gradient(outputs, [_as(gradient, output) for gradient, output in pairs])


def _map_channels_last(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.ndim == 4 and tensor.is_floating_point() and tensor.layout == torch.strided:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def _as(gradient: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    is_row_by_row = output.ndim != 4 or output.is_contiguous()
    if is_row_by_row or not output.is_contiguous(memory_format=torch.channels_last):
        return gradient
    return _map_channels_last(gradient)
