"""Tensors between a stage's device and the host memory that links send from."""

from __future__ import annotations

import torch

__all__ = ["Staging"]


class Staging:
    """Moves tensors for one device; on the CPU it hands them through untouched."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._is_cpu = self.device.type == "cpu"

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """A host tensor on the device, copied through pinned memory."""
        if self._is_cpu:
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def to_host(self, tensor: torch.Tensor) -> torch.Tensor:
        """A device tensor in pinned host memory, complete when this returns."""
        if self._is_cpu:
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream(self.device).synchronize()
        return host
