"""What tensors between stages may travel as, in one process: formats by name, and their errors.

``same``, ``bf16``, or words of ``int8 [per-tensor] [stochastic] [feedback]``: a scale for each
sample or one for the tensor; rounded at random or to the nearest; and what rounding a gradient took
away is added to the next one over the same boundary.
"""

from __future__ import annotations

import dataclasses

import torch

from dni_async.transport.link import Link
from dni_async.transport.staging import Staging
from dni_async.wire.quantising import dequantise, quantise
from dni_async.workers.in_memory import Equipment, endpoint_of

__all__ = ["WireFormat", "make_format"]


class WireFormat:
    """Rounds what crosses boundaries and adds up how far it arrives from what it was."""

    def __init__(self, words: frozenset[str], seed: int) -> None:
        self._words = words
        self._generator = torch.Generator().manual_seed(seed)
        self._left: dict[tuple[str, torch.Size], torch.Tensor] = {}
        self._sums = {True: 0.0, False: 0.0}
        self._counts = {True: 0, False: 0}

    def between(self, stage: int, equipment: Equipment) -> Equipment:
        """The equipment of a stage whose tensors travel in this format."""
        if "same" in self._words:
            return equipment
        return dataclasses.replace(equipment, staging=_Rounding(self, stage))

    def round(self, boundary: str, tensor: torch.Tensor, *, is_up: bool) -> torch.Tensor:
        """The tensor [B, ...] as it arrives."""
        key = boundary, tensor.shape
        feeds_back = "feedback" in self._words and not is_up
        sent = tensor + self._left[key] if feeds_back and key in self._left else tensor
        arrived = self._convert(sent)
        if feeds_back:
            self._left[key] = sent - arrived
        norm = float(tensor.norm())
        if norm > 0:
            self._sums[is_up] += float((arrived - tensor).norm()) / norm
            self._counts[is_up] += 1
        return arrived

    def errors(self) -> dict[str, float]:
        """Up and down: |arrived - tensor| / |tensor|, the mean over all tensors so far."""
        means = {up: self._sums[up] / max(1, self._counts[up]) for up in (True, False)}
        return {"up_error": means[True], "down_error": means[False]}

    def _convert(self, tensor: torch.Tensor) -> torch.Tensor:
        if "bf16" in self._words:
            return tensor.to(torch.bfloat16).to(torch.float32)
        generator = self._generator if "stochastic" in self._words else None
        rows = tensor.reshape(1, -1) if "per-tensor" in self._words else tensor
        return dequantise(*quantise(rows, generator)).view(tensor.shape)


class _Rounding(Staging):
    """Sends what the format makes of a tensor, in float32."""

    def __init__(self, wire: WireFormat, stage: int) -> None:
        super().__init__("cpu")
        self._wire = wire
        self._stage = stage

    def for_link(
        self, link: Link, batch_id: int, tensor: torch.Tensor, **_how: bool
    ) -> list[torch.Tensor]:
        """What arrives of an activation or gradient [B, ...]."""
        is_up = link.endpoint != endpoint_of(self._stage)  # nothing goes up to oneself
        return [self._wire.round(link.endpoint, tensor, is_up=is_up)]


def make_format(name: str, seed: int) -> WireFormat:
    """The format of that name; seed: of its rounding."""
    words = frozenset(name.split())
    known = {"same", "bf16", "int8", "per-tensor", "stochastic", "feedback"}
    if not words <= known:
        raise ValueError(f"format: {name!r} is not made of {', '.join(sorted(known))}")
    return WireFormat(words, seed)
