"""The normalisation that a run asks for, as a list of one module or none."""

from __future__ import annotations

from torch import nn

__all__ = ["over_channels", "over_units"]


def over_units(norm: str, num_units: int) -> list[nn.Module]:
    """Of activations [B, num_units]."""
    if norm == "batch":
        return [nn.BatchNorm1d(num_units)]
    return [nn.LayerNorm(num_units)] if norm == "layer" else []


def over_channels(norm: str, num_channels: int) -> list[nn.Module]:
    """Of activations [B, num_channels, H, W]; layer: over all that a sample has."""
    if norm == "batch":
        return [nn.BatchNorm2d(num_channels)]
    return [nn.GroupNorm(1, num_channels)] if norm == "layer" else []
