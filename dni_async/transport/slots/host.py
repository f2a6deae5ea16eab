"""Memory that both ends of a link map: a fixed number of slots, one activation each.

The lower end makes an anonymous file (memfd: no name, so nothing can be left behind), seals its
size, and hands it to the upper end over a unix socket beside the inbox. An activation is written
into a slot once and read where it lies; the message that travels is only the doorbell. The
gradient of that activation comes back in the same slot, which has the same size.

Every slot begins with the batch_id that it was last written for; a reader checks it, so that a
slot can never be taken for another's. Slots come back by credit, as places in the window do.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import socket
import struct
import sys
from typing import Final

import torch

from dni_async.errors import LinkError
from dni_async.system.machine import available_bytes
from dni_async.transport.slots.greeting import (
    HANDOVER_TIMEOUT_S,
    HOST_MAGIC,
    MAX_SLOTS,
    connect,
    make_greeting,
)
from dni_async.transport.slots.interface import check_slot
from dni_async.wire.messages import TensorMeta
from dni_async.wire.tensors import as_it_lies, as_it_was, shape_in_memory, torch_dtype

__all__ = [
    "HostOffer",
    "HostSlots",
    "accept_host_slots",
    "can_share_memory",
    "hand_over",
    "make_slots",
    "offer_host_slots",
]

HEADER_BYTES: Final = 64  # the tag, and the tensor behind it starts on a cache line
PAGE_BYTES: Final = mmap.PAGESIZE
MAX_VIEWS: Final = 4 * MAX_SLOTS  # a peer cannot make us keep more
_TAG: Final = struct.Struct("<q")
_F_ADD_SEALS, _F_GET_SEALS, _F_SEAL_SHRINK, _F_SEAL_GROW = 1033, 1034, 2, 4


def can_share_memory() -> bool:
    """Whether this system has anonymous files that can be sealed and handed over."""
    return sys.platform == "linux" and hasattr(os, "memfd_create")


class HostSlots:
    """num_slots slots of slot_bytes each, mapped into this process from descriptor fd.

    Takes over fd. Raises OSError when it cannot be mapped.
    """

    carrier = "shared memory"

    def __init__(self, fd: int, slot_bytes: int, num_slots: int) -> None:
        self.slot_bytes = slot_bytes
        self.num_slots = num_slots
        self._stride = _stride(slot_bytes)
        self._views: dict[tuple[int, torch.dtype, tuple[int, ...]], torch.Tensor] = {}
        try:
            self._map = mmap.mmap(fd, self._stride * num_slots)
        finally:
            os.close(fd)

    def fits(self, tensor: torch.Tensor) -> bool:
        """Whether write takes this tensor."""
        return tensor.is_cpu and tensor.nbytes <= self.slot_bytes

    def write(self, slot: int, batch_id: int, tensor: torch.Tensor) -> None:
        """Copy a tensor that fits into slot and tag it for batch_id."""
        _TAG.pack_into(self._map, slot * self._stride, batch_id)
        lying = as_it_lies(tensor)
        self._view(slot, tensor.dtype, tuple(lying.shape)).copy_(lying)

    def read(self, meta: TensorMeta, batch_id: int) -> torch.Tensor:
        """The tensor in the slot that meta names, as a view.

        Raises LinkError when the slot does not exist, is too small, or is tagged for another
        batch.
        """
        check_slot(self, meta, batch_id)
        (tag,) = _TAG.unpack_from(self._map, meta.place * self._stride)
        if tag != batch_id:
            raise LinkError(f"slot {meta.place} is tagged for batch {tag}, not {batch_id}")
        # A tensor of its own each time: readers set requires_grad on it.
        view = self._view(meta.place, torch_dtype(meta), shape_in_memory(meta))
        return as_it_was(view.detach(), meta)

    def leave(self, slot: int) -> None:
        """This end is done with the slot; here a credit says all there is to say."""

    def finish(self, patience_s: float) -> None:
        """The kernel keeps the memory for whoever maps it."""

    def close(self) -> None:
        """The mapping goes with the last view of it."""
        self._views.clear()

    def _view(self, slot: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        """The slot as a tensor; kept, as the same few come again and again."""
        key = (slot, dtype, shape)
        view = self._views.get(key)
        if view is None:
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            offset = slot * self._stride + HEADER_BYTES
            flat = torch.frombuffer(self._map, dtype=dtype, count=math.prod(shape), offset=offset)
            view = self._views[key] = flat.view(shape)
        return view


class HostOffer:
    """Slots that were handed over in full: nothing more is awaited than yes or no."""

    def __init__(self, slots: HostSlots) -> None:
        self._slots = slots

    def take_up(self) -> HostSlots:
        """The slots, once the other end has accepted."""
        return self._slots

    def withdraw(self) -> None:
        """The memory goes with whoever still maps it."""


def offer_host_slots(path: str, run_id: str, tensor: torch.Tensor, num_slots: int) -> HostOffer:
    """Make slots for tensors like this one and hand them to the listener at path.

    Raises OSError where the memory or the listener is not to be had.
    """
    slots, fd = make_slots(tensor.nbytes, num_slots)
    try:
        hand_over(path, run_id, fd, slots)
    finally:
        os.close(fd)
    return HostOffer(slots)


def make_slots(slot_bytes: int, num_slots: int) -> tuple[HostSlots, int]:
    """New slots and a descriptor to hand over (the caller closes it).

    Raises OSError when the memory is not to be had; it is reserved here, not when it is written.
    """
    import fcntl

    size = _stride(slot_bytes) * num_slots
    available = available_bytes()
    # Anonymous files have no limit of their own: asking for too much kills processes instead.
    if available is not None and size > available // 2:
        raise OSError(errno.ENOMEM, f"{size} bytes of slots, but {available} bytes are available")
    fd = os.memfd_create("dni-slots", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(fd, 0, size)
        fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW)
        return HostSlots(os.dup(fd), slot_bytes, num_slots), fd
    except OSError:
        os.close(fd)
        raise


def hand_over(path: str, run_id: str, fd: int, slots: HostSlots) -> None:
    """Send fd to the listener at path. Raises OSError when nobody there takes it."""
    greeting = make_greeting(HOST_MAGIC, run_id, slots.slot_bytes, slots.num_slots)
    with connect(path, HANDOVER_TIMEOUT_S) as connection:
        socket.send_fds(connection, [greeting], [fd])


def accept_host_slots(fd: int, slot_bytes: int, num_slots: int) -> HostSlots:
    """Map what was handed over and claims to be that much; takes over fd where it succeeds.

    Raises LinkError where it is not what it claims to be, OSError where it cannot be mapped.
    """
    import fcntl

    if not fcntl.fcntl(fd, _F_GET_SEALS) & _F_SEAL_SHRINK:
        raise LinkError("the handed memory could be cut short under its reader")
    if os.fstat(fd).st_size < _stride(slot_bytes) * num_slots:
        raise LinkError("the handed memory is smaller than it claims")
    return HostSlots(fd, slot_bytes, num_slots)


def _stride(slot_bytes: int) -> int:
    return -(-(HEADER_BYTES + slot_bytes) // PAGE_BYTES) * PAGE_BYTES
