"""Tensors between a stage's device and the host memory that links send from."""

from __future__ import annotations

import torch

from dni_async.link import Link
from dni_async.tensors import aligned

__all__ = ["Staging"]


class Staging:
    """Moves tensors for one device; on the CPU it hands them through untouched.

    is_exact: received tensors are put where torch's allocator would have put them, so that
    products with them round as in one process. wire_dtype: what float32 tensors travel as, None
    for what they are.
    """

    def __init__(
        self, device: str, *, is_exact: bool = False, wire_dtype: torch.dtype | None = None
    ) -> None:
        self._is_exact = is_exact
        self._wire_dtype = wire_dtype
        self.device = torch.device(device)
        self._is_cpu = self.device.type == "cpu"

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """A received tensor on the device, by way of pinned memory; as it was before the wire."""
        if tensor.dtype == self._wire_dtype:
            tensor = tensor.to(torch.float32)
        if self._is_cpu:
            return aligned(tensor) if self._is_exact else tensor
        if tensor.is_cuda:  # of the GPU that the slots are on, which may be another
            return tensor.to(self.device, non_blocking=True)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def for_link(self, link: Link, batch_id: int, tensor: torch.Tensor) -> torch.Tensor:
        """tensor as link can place it for the batch: on the device if it shares that memory."""
        if self._wire_dtype is None and link.takes_from_device(batch_id, tensor):
            return tensor
        return self.to_host(tensor)

    def to_host(self, tensor: torch.Tensor) -> torch.Tensor:
        """A device tensor in pinned host memory and its dtype for the wire, complete on return."""
        if self._wire_dtype is not None and tensor.dtype == torch.float32:
            tensor = tensor.to(self._wire_dtype)
        if self._is_cpu:
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream(self.device).synchronize()
        return host
