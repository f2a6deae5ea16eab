"""How slots in GPU memory come from the lower end to the upper one, and are tried on the way.

The lower end tells where its memory is, its handle and those of its events, and the upper end
answers with its own events. Before either uses the slots, each has read in them what the other
wrote and marked by an event: where anything fails, at start, tensors travel otherwise.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack
from typing import Final

import torch

from dni_async.transport.slots.cuda_runtime import HANDLE_BYTES, loaded_runtime
from dni_async.transport.slots.device import (
    Cuda,
    DeviceMemory,
    DeviceSlots,
    await_event,
    memory_bytes,
)
from dni_async.transport.slots.gpus import WHEREABOUTS_BYTES, TorchGpus, Whereabouts
from dni_async.transport.slots.greeting import (
    DEVICE_MAGIC,
    HANDOVER_TIMEOUT_S,
    connect,
    make_greeting,
)
from dni_async.transport.slots.peer import Peer

__all__ = ["DeviceOffer", "accept_device_slots", "cuda_here", "offer_device_slots"]

MAX_DEVICE_SLOTS: Final = 1024  # their events' handles must fit into a unix socket's buffer
TRIAL_BYTES: Final = 16


def cuda_here() -> Cuda:
    """The CUDA of this process's torch. Raises OSError where it has none."""
    return Cuda(loaded_runtime(), TorchGpus())


class DeviceOffer:
    """Slots that were handed over, until the other end has answered with its events."""

    def __init__(
        self, memory: DeviceMemory, connection: socket.socket, slot_bytes: int, trial: bytes
    ) -> None:
        self._memory: DeviceMemory | None = memory
        self._connection: socket.socket | None = connection
        self._slot_bytes = slot_bytes
        self._trial = trial

    def take_up(self) -> DeviceSlots:
        """The slots, once the other end has accepted. Raises OSError; withdraw is still due then.

        The other end may have gone since, or lie where its events cannot be opened.
        """
        memory, connection = self._memory, self._connection
        assert memory is not None
        assert connection is not None
        try:
            handles = _receive(connection, HANDLE_BYTES * len(memory.own))
            with memory.cuda.gpus.on(memory.device):
                memory.open_events(_split(handles))
                peer = Peer(connection)
                self._connection = None
                slots = DeviceSlots(memory, peer, self._slot_bytes)
                _read_trial(memory, peer, self._trial[::-1])
        except (OSError, RuntimeError) as error:
            raise OSError(f"CUDA IPC: {error}") from error
        self._memory = None
        return slots

    def withdraw(self) -> None:
        """Free the memory, if the other end has not mapped it; else it goes with the process."""
        if self._memory is not None and self._connection is not None:
            self._memory.peers.append(Peer(self._connection))
        self._memory = self._connection = None


def offer_device_slots(
    path: str,
    run_id: str,
    tensor: torch.Tensor,
    num_slots: int,
    timeout_s: float = HANDOVER_TIMEOUT_S,
    cuda: Cuda | None = None,
) -> DeviceOffer:
    """Make slots for tensors like this one and hand them to the listener at path.

    At most MAX_DEVICE_SLOTS; batches beyond them travel in frames. Raises OSError where the
    memory, the sharing or the listener is not to be had.
    """
    slot_bytes, num_slots = tensor.nbytes, min(num_slots, MAX_DEVICE_SLOTS)
    greeting = make_greeting(DEVICE_MAGIC, run_id, slot_bytes, num_slots)
    try:
        cuda = cuda or cuda_here()
        with cuda.gpus.on(tensor.device):
            where = Whereabouts.here(cuda.gpus, tensor.device).packed()
            address = cuda.runtime.allocate(memory_bytes(slot_bytes, num_slots))
            memory = DeviceMemory(cuda, tensor.device, address, is_made_here=True)
            told = where + cuda.runtime.export(address) + memory.make_events(num_slots)
            trial = secrets.token_bytes(TRIAL_BYTES)
            _write_trial(memory, trial)
            with ExitStack() as held:
                connection = held.enter_context(connect(path, timeout_s))
                connection.sendall(greeting + told + trial)
                held.pop_all()
    except (OSError, RuntimeError) as error:
        raise OSError(f"CUDA IPC: {error}") from error
    return DeviceOffer(memory, connection, slot_bytes, trial)


def accept_device_slots(
    connection: socket.socket, slot_bytes: int, num_slots: int, cuda: Cuda | None = None
) -> DeviceSlots:
    """Map what is being handed over on connection, behind its greeting, and answer with events.

    Takes over connection where it succeeds. Raises OSError where this process cannot map it: no
    GPU, or not one that reaches that memory.
    """
    gpus = TorchGpus() if cuda is None else cuda.gpus
    if not gpus.are_up():
        raise OSError("the stage above is not on a GPU")
    where = Whereabouts.unpacked(_receive(connection, WHEREABOUTS_BYTES))
    handle, *events = _split(_receive(connection, HANDLE_BYTES * (1 + num_slots)))
    trial = _receive(connection, TRIAL_BYTES)
    try:
        cuda = cuda or cuda_here()
        device = where.found(gpus)
        with gpus.on(device):
            address = cuda.runtime.open(handle)
        memory = DeviceMemory(cuda, device, address, is_made_here=False)
        own = memory.make_events(num_slots)  # on this end's GPU, where they are recorded
        memory.open_events(events)
        slots = DeviceSlots(memory, peer := Peer(connection), slot_bytes)
        _read_trial(memory, peer, trial)
        _write_trial(memory, trial[::-1])
        connection.settimeout(HANDOVER_TIMEOUT_S)
        connection.sendall(own)
        connection.setblocking(False)
    except (OSError, RuntimeError) as error:
        raise OSError(f"CUDA IPC: {error}") from error
    return slots


def _write_trial(memory: DeviceMemory, trial: bytes) -> None:
    """Into the first slot, marked by its event."""
    gpus = memory.cuda.gpus
    _trial_view(memory).copy_(torch.tensor(list(trial), dtype=torch.uint8))
    memory.cuda.runtime.record(memory.own[0], gpus.stream(gpus.present()))


def _read_trial(memory: DeviceMemory, peer: Peer, expected: bytes) -> None:
    """Raises OSError unless the other end has written that, and its event says so in time."""
    if not await_event(memory.cuda.runtime, memory.their[0], peer, HANDOVER_TIMEOUT_S):
        raise OSError("the other end hung up")
    if bytes(_trial_view(memory).tolist()) != expected:
        raise OSError("what the other end wrote into the shared memory cannot be read here")


def _trial_view(memory: DeviceMemory) -> torch.Tensor:
    return memory.cuda.gpus.view(memory.address, TRIAL_BYTES, memory.device, memory)


def _split(handles: bytes) -> list[bytes]:
    return [handles[at : at + HANDLE_BYTES] for at in range(0, len(handles), HANDLE_BYTES)]


def _receive(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise OSError("the other end hung up")
        parts += part
    return bytes(parts)
