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

import math
import socket
import struct
from contextlib import suppress
from typing import Final

import torch

from dni_async.transport.slots.cuda_runtime import HANDLE_BYTES, CudaRuntime, loaded_runtime
from dni_async.transport.slots.greeting import (
    DEVICE_MAGIC,
    HANDOVER_TIMEOUT_S,
    connect,
    make_greeting,
)
from dni_async.transport.slots.interface import check_slot
from dni_async.wire.messages import TensorMeta
from dni_async.wire.tensors import torch_dtype

__all__ = ["DeviceOffer", "DeviceSlots", "accept_device_slots", "offer_device_slots"]

ALIGNMENT_BYTES: Final = 512
_DEVICE: Final = struct.Struct(f"<q{HANDLE_BYTES}s")
_INDEX: Final = struct.Struct("<q")


class DeviceSlots:
    """num_slots slots of slot_bytes each from address on, as both ends see them.

    own: the events that this end records, one for each slot; their: those that it waits for.
    """

    carrier = "GPU memory"

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

    def fits(self, tensor: torch.Tensor) -> bool:
        """Whether write takes this tensor."""
        return tensor.is_cuda and tensor.nbytes <= self.slot_bytes

    def write(self, slot: int, batch_id: int, tensor: torch.Tensor) -> None:
        """Queue a copy of a tensor that fits into slot, when the other end is done with it."""
        stream = torch.cuda.current_stream(tensor.device)
        stream.wait_event(self._their[slot])
        self._view(slot, tensor.dtype, tuple(tensor.shape)).copy_(tensor, non_blocking=True)
        self._own[slot].record(stream)

    def read(self, meta: TensorMeta, batch_id: int) -> torch.Tensor:
        """The tensor in the slot that meta names, as a view that is good for this stream.

        Raises LinkError when the slot does not exist or is too small.
        """
        check_slot(self, meta, batch_id)
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
    """Slots that were handed over, until the other end has answered with its events.

    memory: their address, and the bytes of one slot.
    """

    def __init__(
        self,
        runtime: CudaRuntime,
        connection: socket.socket,
        memory: tuple[int, int],
        device: torch.device,
        events: list[torch.cuda.Event],
    ) -> None:
        self._runtime = runtime
        self._connection = connection
        self._memory = memory
        self._device = device
        self._events = events

    def take_up(self) -> DeviceSlots:
        """The slots, once the other end has accepted. Raises OSError; withdraw is still due then.

        The other end may have gone since, or lie where its events cannot be opened.
        """
        address, slot_bytes = self._memory
        try:
            with self._connection:
                (index,) = _INDEX.unpack(_receive(self._connection, _INDEX.size))
                handles = _receive(self._connection, HANDLE_BYTES * len(self._events))
            their = _open_events(handles, torch.device("cuda", index))
            return DeviceSlots(address, self._device, slot_bytes, len(their), self._events, their)
        except RuntimeError as error:
            raise OSError(f"CUDA IPC: {error}") from error

    def withdraw(self) -> None:
        """Hang up, and free the memory; where even that fails it goes with the process."""
        self._connection.close()
        with suppress(OSError):
            self._runtime.free(self._memory[0])


def offer_device_slots(
    path: str,
    run_id: str,
    tensor: torch.Tensor,
    num_slots: int,
    timeout_s: float = HANDOVER_TIMEOUT_S,
) -> DeviceOffer:
    """Make slots for tensors like this one and hand them to the listener at path.

    Raises OSError where the memory, the sharing or the listener is not to be had.
    """
    runtime, slot_bytes = loaded_runtime(), tensor.nbytes
    greeting = make_greeting(DEVICE_MAGIC, run_id, slot_bytes, num_slots)
    with torch.cuda.device(tensor.device):
        address = runtime.allocate(_stride(slot_bytes) * num_slots)
        try:
            told = _DEVICE.pack(tensor.device.index, runtime.export(address))
            events = _make_events(num_slots)
            connection = connect(path, timeout_s)
            try:
                connection.sendall(greeting + told + _handles(events))
            except (OSError, RuntimeError):
                connection.close()
                raise
        except (OSError, RuntimeError) as error:
            with suppress(OSError):
                runtime.free(address)
            raise OSError(f"CUDA IPC: {error}") from error
    return DeviceOffer(runtime, connection, (address, slot_bytes), tensor.device, events)


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
    device, runtime = torch.device("cuda", index), loaded_runtime()
    with torch.cuda.device(device):
        address = runtime.open(handle)
    try:
        own = _make_events(num_slots)  # on this end's GPU, where they are recorded
        their = _open_events(told[_DEVICE.size :], device)
        slots = DeviceSlots(address, device, slot_bytes, num_slots, own, their)
        connection.sendall(_INDEX.pack(torch.cuda.current_device()) + _handles(own))
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            runtime.close(address)
        raise OSError(f"CUDA IPC: {error}") from error
    return slots


class _Memory:
    """Device memory as others take it over without a copy."""

    def __init__(self, address: int, size: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }


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
