"""Tensors as 8-bit integers with a scale for each sample, and back."""

from __future__ import annotations

from typing import Final

import torch

__all__ = ["dequantise", "quantise"]

LARGEST: Final = 127
_TINY: Final = torch.finfo(torch.float32).tiny
_HUGE: Final = torch.finfo(torch.float32).max / LARGEST * (1 - 2**-23)  # times LARGEST is finite


def quantise(
    tensor: torch.Tensor, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A float tensor [B, ...] as int8 of the same shape, and float32 scales [B].

    A sample's largest number becomes 127 or -127. generator: its numbers decide whether one between
    two integers goes up or down, such that the mean over many draws is exact; None: to the nearest.
    A sample with NaN or infinity has some after dequantise, so that whoever looks for them still
    finds them.
    """
    rows = tensor.detach().float().flatten(1)
    scales = rows.abs().amax(1).div_(LARGEST)
    scales = torch.where(scales.isfinite(), scales.clamp(max=_HUGE), scales)
    # What is too small to be divided by is as good as zero.
    factors = scales.reciprocal().masked_fill_(scales < _TINY, 0.0)
    scaled = rows * factors.unsqueeze(1)
    if generator is None:
        scaled.round_()
    else:
        noise = torch.rand(rows.shape, generator=generator, device=rows.device)
        scaled.add_(noise).floor_()
    scaled.clamp_(-LARGEST, LARGEST)  # 127 and almost 1 are 128 to float32
    return scaled.to(torch.int8).view(tensor.shape), scales


def dequantise(quantised: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The float32 tensor [B, ...] that quantised, int8, and scales [B] stand for."""
    of_samples = scales.view(-1, *[1] * (quantised.ndim - 1))
    return quantised.to(torch.float32).mul_(of_samples)
