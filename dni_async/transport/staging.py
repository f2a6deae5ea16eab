"""Tensors between a stage's device and the host memory that links send from."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from dni_async.transport.link import Link
from dni_async.wire.quantising import dequantise, quantise
from dni_async.wire.tensors import aligned

__all__ = ["Staging"]


class Staging:
    """Moves tensors for one device; on the CPU it hands them through untouched.

    is_exact: received tensors are put where torch's allocator would have put them, so that
    products with them round as in one process. wire_dtype: what activations and gradients travel
    as, None for what they are; int8 has scales beside it (see quantising), and is rounded at random
    by rounding_seed, to the nearest without one.
    """

    def __init__(
        self,
        device: str,
        *,
        is_exact: bool = False,
        wire_dtype: torch.dtype | None = None,
        rounding_seed: int | None = None,
    ) -> None:
        self._is_exact = is_exact
        self._wire_dtype = wire_dtype
        self._seed = rounding_seed
        self.device = torch.device(device)
        self._is_cpu = self.device.type == "cpu"
        self._generator = None if rounding_seed is None else torch.Generator(self.device)

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor from the host on the device, by way of pinned memory."""
        if self._is_cpu:
            return aligned(tensor) if self._is_exact else tensor
        if tensor.is_cuda:  # of the GPU that the slots are on, which may be another
            return tensor.to(self.device, non_blocking=True)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def from_link(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """One value or gradient on the device, as it was before for_link took it apart."""
        tensor, *scales = (self.to_device(part) for part in parts)
        if scales:
            return dequantise(tensor, scales[0])
        return tensor.to(torch.float32) if tensor.dtype == self._wire_dtype else tensor

    def all_for_link(
        self,
        link: Link,
        batch_id: int,
        tensors: Sequence[torch.Tensor],
        *,
        as_they_are: Collection[int] = (),
    ) -> list[torch.Tensor]:
        """What travels for the values or gradients of the batch, in order, as link can put them.

        as_they_are: places of those that wire_dtype does not change. A batch has one slot, which
        is for the largest.
        """
        if len(tensors) == 1:
            return self.for_link(link, batch_id, tensors[0], as_it_is=0 in as_they_are)
        found: dict[int, list[torch.Tensor]] = {}
        may_stay = True
        for place in sorted(range(len(tensors)), key=lambda place: -tensors[place].nbytes):
            found[place] = self.for_link(
                link, batch_id, tensors[place], as_it_is=place in as_they_are, may_stay=may_stay
            )
            may_stay = may_stay and found[place][0].is_cpu
        return [part for place in range(len(tensors)) for part in found[place]]

    def for_link(
        self,
        link: Link,
        batch_id: int,
        tensor: torch.Tensor,
        *,
        as_it_is: bool = False,
        may_stay: bool = True,
    ) -> list[torch.Tensor]:
        """What travels for one value or gradient [B, ...] of the batch, as link can put it.

        On the device if link shares that memory and it may_stay there, else on the host and
        complete on return. Where link has no slots yet, they are offered for what travels.
        as_it_is: wire_dtype does not change it.
        """
        is_plain = as_it_is or self._wire_dtype is None
        first, *scales = [tensor] if is_plain else self._for_wire(batch_id, tensor)
        if may_stay and not self._is_cpu:
            link.offer_slots(first)
            if link.takes(batch_id, first):
                return [first, *self._to_host(scales)]
        parts = self._to_host([first, *scales])
        link.offer_slots(parts[0])
        return parts

    def _for_wire(self, batch_id: int, tensor: torch.Tensor) -> Sequence[torch.Tensor]:
        """The tensor as wire_dtype has it."""
        if self._wire_dtype == torch.int8:
            if self._generator is not None and self._seed is not None:
                # Anew for each batch: a resumed run rounds as the one that it goes on from.
                self._generator.manual_seed((self._seed + batch_id) % 2**63)
            return quantise(tensor, self._generator)
        if self._wire_dtype is not None and tensor.dtype == torch.float32:
            tensor = tensor.to(self._wire_dtype)
        return [tensor]

    def _to_host(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Device tensors in pinned host memory."""
        if self._is_cpu or not tensors:
            return list(tensors)
        hosts = []
        for tensor in tensors:
            host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            hosts.append(host.copy_(tensor, non_blocking=True))
        torch.cuda.current_stream(self.device).synchronize()
        return hosts
