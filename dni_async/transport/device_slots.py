"""Slots in a GPU's memory, shared between two workers of one host by CUDA IPC.

As with slots in main memory, the lower end makes them, hands them over beside the inbox, and a
message is only the doorbell. What differs is that a message arrives while kernels that fill the
slot may still run. So each slot has two interprocess events: the lower end records one when it
has queued the activation, the upper end one when it has queued its last use of the slot, be that
the gradient written into it or the activation read. Each end lets its stream wait for the other's
event; no thread waits, nothing polls.

The memory is not torch's: its own sharing leaves a named file behind in a killed process.
"""

from __future__ import annotations

import ctypes
import math
import socket
import struct
from contextlib import suppress
from typing import Any, Final

import torch

from dni_async.errors import LinkError
from dni_async.system import unix_address
from dni_async.wire.codec import size_bytes
from dni_async.wire.messages import TensorMeta
from dni_async.wire.tensors import torch_dtype

__all__ = [
    "DEVICE_MAGIC",
    "DeviceOffer",
    "DeviceSlots",
    "accept_device_slots",
    "offer_device_slots",
]

DEVICE_MAGIC: Final = b"dni-async slots2"
ALIGNMENT_BYTES: Final = 512
HANDLE_BYTES: Final = 64  # of cudaIpcMemHandle_t and cudaIpcEventHandle_t
_DEVICE: Final = struct.Struct(f"<q{HANDLE_BYTES}s")
_INDEX: Final = struct.Struct("<q")
_LAZY_PEER_ACCESS: Final = 1


class DeviceSlots:
    """num_slots slots of slot_bytes each from address on, as both ends see them.

    own: the events that this end records, one for each slot; their: those that it waits for.
    """

    is_on_device = True

    def __init__(
        self,
        address: int,
        device: torch.device,
        slot_bytes: int,
        num_slots: int,
        own: list[torch.cuda.Event],
        their: list[torch.cuda.Event],
    ) -> None:
        self.slot_bytes = slot_bytes
        self.num_slots = num_slots
        self._device = device
        self._stride = _stride(slot_bytes)
        self._bytes = torch.as_tensor(_Memory(address, self._stride * num_slots), device=device)
        self._own, self._their = own, their

    def write(self, slot: int, batch_id: int, tensor: torch.Tensor) -> None:
        """Queue a copy of a tensor of at most slot_bytes into slot, when the other end is done."""
        stream = torch.cuda.current_stream(tensor.device)
        stream.wait_event(self._their[slot])
        self._view(slot, tensor.dtype, tuple(tensor.shape)).copy_(tensor, non_blocking=True)
        self._own[slot].record(stream)

    def read(self, meta: TensorMeta, batch_id: int) -> torch.Tensor:
        """The tensor in the slot that meta names, as a view that is good for this stream.

        Raises LinkError when the slot does not exist or is too small.
        """
        if not 0 <= meta.place < self.num_slots or not 0 < size_bytes(meta) <= self.slot_bytes:
            raise LinkError(
                f"batch {batch_id}: {size_bytes(meta)} bytes in slot {meta.place}, but there are "
                f"{self.num_slots} slots of {self.slot_bytes} bytes"
            )
        # Work with it runs on this end's GPU, a copy to another one on the GPU of the slots.
        for stream in (torch.cuda.current_stream(), torch.cuda.current_stream(self._device)):
            stream.wait_event(self._their[meta.place])
        return self._view(meta.place, torch_dtype(meta), meta.shape)

    def leave(self, slot: int) -> None:
        """This end has queued its last use of the slot."""
        self._own[slot].record(torch.cuda.current_stream())

    def _view(self, slot: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        start = slot * self._stride
        end = start + math.prod(shape) * dtype.itemsize
        return self._bytes[start:end].view(dtype).view(shape)


class DeviceOffer:
    """Slots that were handed over, until the other end has answered with its events."""

    def __init__(
        self,
        connection: socket.socket,
        address: int,
        device: torch.device,
        slot_bytes: int,
        events: list[torch.cuda.Event],
    ) -> None:
        self._connection = connection
        self._address = address
        self._device = device
        self._slot_bytes = slot_bytes
        self._events = events

    def take_up(self) -> DeviceSlots:
        """The slots, once the other end has accepted. Raises OSError, LinkError."""
        with self._connection:
            (index,) = _INDEX.unpack(_receive(self._connection, _INDEX.size))
            handles = _receive(self._connection, HANDLE_BYTES * len(self._events))
        return DeviceSlots(
            self._address,
            self._device,
            self._slot_bytes,
            len(self._events),
            self._events,
            _open_events(handles, torch.device("cuda", index)),
        )

    def withdraw(self) -> None:
        """The other end did not accept."""
        self._connection.close()
        _check(_runtime().cudaFree(ctypes.c_void_p(self._address)), "cudaFree")


def offer_device_slots(
    path: str, greeting: bytes, tensor: torch.Tensor, num_slots: int, timeout_s: float
) -> DeviceOffer:
    """Make slots for tensors like this one and hand them to the listener at path.

    Raises OSError where the memory, the sharing or the listener is not to be had.
    """
    slot_bytes = tensor.nbytes
    pointer = ctypes.c_void_p()
    size = ctypes.c_size_t(_stride(slot_bytes) * num_slots)
    with torch.cuda.device(tensor.device):
        _check(_runtime().cudaMalloc(ctypes.byref(pointer), size), "cudaMalloc")
    address = pointer.value or 0
    try:
        handle = ctypes.create_string_buffer(HANDLE_BYTES)
        _check(_runtime().cudaIpcGetMemHandle(handle, pointer), "cudaIpcGetMemHandle")
        with torch.cuda.device(tensor.device):
            events = _make_events(num_slots)
        told = _DEVICE.pack(tensor.device.index, handle.raw)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        connection.connect(unix_address(path))
        connection.sendall(greeting + told + _handles(events))
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            _check(_runtime().cudaFree(pointer), "cudaFree")
        raise OSError(f"CUDA IPC: {error}") from error
    return DeviceOffer(connection, address, tensor.device, slot_bytes, events)


def accept_device_slots(connection: socket.socket, slot_bytes: int, num_slots: int) -> DeviceSlots:
    """Map what is being handed over on connection, behind its greeting, and answer with events.

    Raises OSError where this process cannot map it: no GPU, or not one that reaches that memory.
    """
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise OSError("the stage above is not on a GPU")
    told = _receive(connection, _DEVICE.size + HANDLE_BYTES * num_slots)
    index, handle = _DEVICE.unpack_from(told)
    if not 0 <= index < torch.cuda.device_count():
        raise OSError(f"there is no cuda:{index} here")
    device = torch.device("cuda", index)
    pointer = ctypes.c_void_p()
    try:
        with torch.cuda.device(device):
            opened = _runtime().cudaIpcOpenMemHandle(
                ctypes.byref(pointer), _Handle.from_buffer_copy(handle), _LAZY_PEER_ACCESS
            )
            _check(opened, "cudaIpcOpenMemHandle")
        own = _make_events(num_slots)  # on this end's GPU, where they are recorded
        their = _open_events(told[_DEVICE.size :], device)
        connection.sendall(_INDEX.pack(torch.cuda.current_device()) + _handles(own))
    except RuntimeError as error:
        raise OSError(f"CUDA IPC: {error}") from error
    return DeviceSlots(pointer.value or 0, device, slot_bytes, num_slots, own, their)


class _Handle(ctypes.Structure):
    """cudaIpcMemHandle_t, which is passed by value."""

    _fields_ = (("reserved", ctypes.c_char * HANDLE_BYTES),)


class _Memory:
    """Device memory as others take it over without a copy."""

    def __init__(self, address: int, size: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }


def _runtime() -> Any:
    """The CUDA runtime that torch has loaded."""
    version = torch.version.cuda
    if version is None:
        raise OSError("this torch has no CUDA")
    return ctypes.CDLL(f"libcudart.so.{version.partition('.')[0]}")


def _check(code: int, call: str) -> None:
    if code != 0:
        raise OSError(f"{call} failed with CUDA error {code}")


def _make_events(count: int) -> list[torch.cuda.Event]:
    events = [_new_event() for _ in range(count)]
    for event in events:
        event.record(torch.cuda.current_stream())  # an event exists from its first record on
    return events


def _handles(events: list[torch.cuda.Event]) -> bytes:
    return b"".join(bytes(event.ipc_handle()) for event in events)  # type: ignore[no-untyped-call]


def _new_event() -> torch.cuda.Event:
    return torch.cuda.Event(interprocess=True)  # type: ignore[no-untyped-call]


def _open_events(handles: bytes, device: torch.device) -> list[torch.cuda.Event]:
    return [
        torch.cuda.Event.from_ipc_handle(  # type: ignore[no-untyped-call]
            device, handles[start : start + HANDLE_BYTES]
        )
        for start in range(0, len(handles), HANDLE_BYTES)
    ]


def _receive(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise OSError("the other end hung up")
        parts += part
    return bytes(parts)


def _stride(slot_bytes: int) -> int:
    return -(-slot_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
