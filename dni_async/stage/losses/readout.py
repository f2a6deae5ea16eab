"""How a critic may read outputs off an activation: all of a sample's, or place by place."""

from __future__ import annotations

from typing import Literal

from dni_async.stage.losses.interface import Loss

__all__ = ["MAX_OUTPUTS", "readout_of"]

MAX_OUTPUTS = 4096
"""A critic of a whole sample has a column for each output; more cost more than the layer."""


def readout_of(shape: tuple[int, ...], loss: Loss) -> Literal["whole", "by place"] | None:
    """Of activations whose samples have that shape; None where a sample has too many outputs.

    By place where both are maps: [c, h, w] and outputs [C, H, W] of whatever sizes, or [T, d] and
    outputs [T, K].
    """
    outputs = loss.output_shape
    are_maps = len(outputs) > 1 and len(shape) == len(outputs)
    if are_maps and (loss.has_channels_first or shape[:-1] == outputs[:-1]):
        return "by place"
    return "whole" if loss.readout_size <= MAX_OUTPUTS else None
