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
from contextlib import suppress
from pathlib import Path
from typing import Final

import torch

from dni_async.errors import LinkError
from dni_async.system import available_bytes, unix_address
from dni_async.transport.device_slots import DEVICE_MAGIC, DeviceSlots, accept_device_slots
from dni_async.wire.codec import size_bytes
from dni_async.wire.messages import TensorMeta
from dni_async.wire.tensors import torch_dtype

__all__ = [
    "HANDOVER_TIMEOUT_S",
    "SlotListener",
    "Slots",
    "can_share_memory",
    "hand_over",
    "make_greeting",
    "make_slots",
]

HEADER_BYTES: Final = 64  # the tag, and the tensor behind it starts on a cache line
PAGE_BYTES: Final = mmap.PAGESIZE
MAX_SLOTS: Final = 4096
MAX_VIEWS: Final = 4 * MAX_SLOTS  # a peer cannot make us keep more
_TAG: Final = struct.Struct("<q")
_GREETING: Final = struct.Struct("<16s16sqq")  # magic, run id, slot bytes, slots
_UCRED: Final = struct.Struct("3i")  # pid, user, group
_MAGIC: Final = b"dni-async slots1"
HANDOVER_TIMEOUT_S: Final = 2.0
_F_ADD_SEALS, _F_GET_SEALS, _F_SEAL_SHRINK, _F_SEAL_GROW = 1033, 1034, 2, 4


def can_share_memory() -> bool:
    """Whether this system has anonymous files that can be sealed and handed over."""
    return sys.platform == "linux" and hasattr(os, "memfd_create")


class Slots:
    """num_slots slots of slot_bytes each, mapped into this process from descriptor fd.

    Takes over fd. Raises OSError when it cannot be mapped.
    """

    is_on_device = False

    def __init__(self, fd: int, slot_bytes: int, num_slots: int) -> None:
        self.slot_bytes = slot_bytes
        self.num_slots = num_slots
        self._stride = _stride(slot_bytes)
        self._views: dict[tuple[int, torch.dtype, tuple[int, ...]], torch.Tensor] = {}
        try:
            self._map = mmap.mmap(fd, self._stride * num_slots)
        finally:
            os.close(fd)

    def write(self, slot: int, batch_id: int, tensor: torch.Tensor) -> None:
        """Copy a CPU tensor of at most slot_bytes into slot and tag it for batch_id."""
        _TAG.pack_into(self._map, slot * self._stride, batch_id)
        self._view(slot, tensor.dtype, tuple(tensor.shape)).copy_(tensor)

    def read(self, meta: TensorMeta, batch_id: int) -> torch.Tensor:
        """The tensor in the slot that meta names, as a view.

        Raises LinkError when the slot does not exist, is too small, or is tagged for another
        batch.
        """
        if not 0 <= meta.place < self.num_slots or not 0 < size_bytes(meta) <= self.slot_bytes:
            raise LinkError(
                f"batch {batch_id}: {size_bytes(meta)} bytes in slot {meta.place}, but there are "
                f"{self.num_slots} slots of {self.slot_bytes} bytes"
            )
        (tag,) = _TAG.unpack_from(self._map, meta.place * self._stride)
        if tag != batch_id:
            raise LinkError(f"slot {meta.place} is tagged for batch {tag}, not {batch_id}")
        # A tensor of its own each time: readers set requires_grad on it.
        return self._view(meta.place, torch_dtype(meta), meta.shape).detach()

    def leave(self, slot: int) -> None:
        """This end is done with the slot; here a credit says all there is to say."""

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


def make_slots(slot_bytes: int, num_slots: int) -> tuple[Slots, int]:
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
        return Slots(os.dup(fd), slot_bytes, num_slots), fd
    except OSError:
        os.close(fd)
        raise


def hand_over(path: str, run_id: str, fd: int, slots: Slots) -> None:
    """Send fd to the listener at path. Raises OSError when nobody there takes it."""
    greeting = make_greeting(_MAGIC, run_id, slots.slot_bytes, slots.num_slots)
    with socket.socket(socket.AF_UNIX) as sender:
        sender.settimeout(HANDOVER_TIMEOUT_S)
        sender.connect(unix_address(path))
        socket.send_fds(sender, [greeting], [fd])


def make_greeting(magic: bytes, run_id: str, slot_bytes: int, num_slots: int) -> bytes:
    """What is said first where slots are handed over."""
    return _GREETING.pack(magic, _token(run_id), slot_bytes, num_slots)


class SlotListener:
    """The upper end's unix socket, on which the lower end hands over its slots."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(unix_address(path))
        self._socket.listen(1)
        self._socket.settimeout(HANDOVER_TIMEOUT_S)

    def receive(self, run_id: str) -> Slots | DeviceSlots:
        """The slots that were handed over before this is called.

        Raises OSError when there are none, LinkError when they are not of this run or not what
        they claim to be.
        """
        connection, _ = self._socket.accept()
        with connection:
            _check_user(connection)
            connection.settimeout(HANDOVER_TIMEOUT_S)
            greeting, fds, _, _ = socket.recv_fds(connection, _GREETING.size, 1)
            if greeting.startswith(DEVICE_MAGIC) and not fds:
                slot_bytes, num_slots = _read_greeting(greeting, DEVICE_MAGIC, run_id)
                return accept_device_slots(connection, slot_bytes, num_slots)
        try:
            return _open(greeting, fds, run_id)
        except (LinkError, OSError):
            for fd in fds:
                with suppress(OSError):
                    os.close(fd)
            raise

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._socket.close()
        if not self._path.startswith("@"):
            Path(self._path).unlink(missing_ok=True)


def _check_user(connection: socket.socket) -> None:
    """Anybody on the host can connect to a name without a file. Raises LinkError for others."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, user, _ = _UCRED.unpack(credentials)
    if user != os.geteuid():
        raise LinkError(f"slots were handed over by another user ({user})")


def _open(greeting: bytes, fds: list[int], run_id: str) -> Slots:
    import fcntl

    if len(greeting) != _GREETING.size or len(fds) != 1:
        raise LinkError(f"slots came with {len(greeting)} bytes and {len(fds)} descriptors")
    slot_bytes, num_slots = _read_greeting(greeting, _MAGIC, run_id)
    if not fcntl.fcntl(fds[0], _F_GET_SEALS) & _F_SEAL_SHRINK:
        raise LinkError("the handed memory could be cut short under its reader")
    if os.fstat(fds[0]).st_size < _stride(slot_bytes) * num_slots:
        raise LinkError("the handed memory is smaller than it claims")
    return Slots(fds[0], slot_bytes, num_slots)


def _read_greeting(greeting: bytes, expected: bytes, run_id: str) -> tuple[int, int]:
    """Slot bytes and slots that a greeting names. Raises LinkError."""
    if len(greeting) != _GREETING.size:
        raise LinkError(f"slots came with {len(greeting)} bytes")
    magic, token, slot_bytes, num_slots = _GREETING.unpack(greeting)
    if magic != expected or token != _token(run_id):
        raise LinkError("slots of another run or version were handed over")
    if not 0 < slot_bytes <= 2**31 or not 0 < num_slots <= MAX_SLOTS:
        raise LinkError(f"{num_slots} slots of {slot_bytes} bytes are out of bounds")
    return slot_bytes, num_slots


def _stride(slot_bytes: int) -> int:
    return -(-(HEADER_BYTES + slot_bytes) // PAGE_BYTES) * PAGE_BYTES


def _token(run_id: str) -> bytes:
    return run_id.encode()[:16].ljust(16, b"\0")
