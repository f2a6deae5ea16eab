"""Slots in a GPU's memory, shared between two workers of one host by CUDA IPC.

As with slots in main memory, the lower end makes them, hands them over beside the inbox, and a
message is only the doorbell. What differs is that a message arrives while kernels that fill the
slot may still run. So each slot has two interprocess events: the lower end records one when it
has queued the activation, the upper end one when it has queued its last use of the slot, be that
the gradient written into it or the activation read.

Whoever touches a slot waits first, on the host, until the other's event is done. A stream that
waits for the event of a process that is killed may stand still for ever; a host that waits sees the
other go. It costs little: every update waits for its device once anyway, to look for NaN.

The memory is not torch's: its own sharing leaves a named file behind in a killed process.
"""

from __future__ import annotations

import math
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import torch

from dni_async.transport.slots.cuda_runtime import CudaRuntime
from dni_async.transport.slots.gpus import Gpus
from dni_async.transport.slots.interface import check_slot
from dni_async.transport.slots.peer import Peer, PeerGone
from dni_async.wire.messages import TensorMeta
from dni_async.wire.tensors import as_it_lies, as_it_was, shape_in_memory, torch_dtype

__all__ = ["Cuda", "DeviceMemory", "DeviceSlots", "memory_bytes", "stride_of"]

ALIGNMENT_BYTES: Final = 512
SHARED_BYTES: Final = 2**21  # less may lie in an allocation with others, which would be shared too
POLLS: Final = 20  # without a pause
POLL_S: Final = 50e-6
PATIENCE_S: Final = 60.0  # for kernels of one batch


@dataclass(frozen=True, slots=True)
class Cuda:
    """What a process has of CUDA: its runtime, and torch's GPUs."""

    runtime: CudaRuntime
    gpus: Gpus


class DeviceMemory:
    """num_slots slots of slot_bytes each from address on, with the events about them.

    As long as any view of a slot is left, whatever else holds on to this. After that it is given
    back: what was made here once the other process is done with it, or else with this process.

    device: where it lies. own: the events that this end records, one for each slot; their: those
    that it waits for. is_made_here: by cudaMalloc; else mapped from the other process.
    """

    def __init__(
        self,
        cuda: Cuda,
        device: torch.device,
        address: int,
        *,
        is_made_here: bool,
    ) -> None:
        self.cuda = cuda
        self.device = device
        self.address = address
        self.is_made_here = is_made_here
        self.own: list[int] = []
        self.their: list[int] = []
        self.peers: list[Peer] = []  # one, from the moment that the slots are in use
        self._end = weakref.finalize(
            self,
            _give_back,
            cuda,
            (address, is_made_here, device),
            self.own,
            self.their,
            self.peers,
        )
        self._end.atexit = False  # CUDA may have gone before that

    def make_events(self, num_slots: int) -> bytes:
        """Events on the present device, and their handles. Raises OSError."""
        runtime = self.cuda.runtime
        for _ in range(num_slots):
            self.own.append(runtime.new_event())
        return b"".join(map(runtime.export_event, self.own))

    def open_events(self, handles: list[bytes]) -> None:
        """The other end's events, on the present device. Raises OSError."""
        for handle in handles:
            self.their.append(self.cuda.runtime.open_event(handle))


def _give_back(
    cuda: Cuda,
    memory: tuple[int, bool, torch.device],
    own: list[int],
    their: list[int],
    peers: list[Peer],
) -> None:
    """Nothing here refers to the memory any more; what is queued may."""
    address, is_made_here, device = memory
    runtime, gpus = cuda.runtime, cuda.gpus
    with suppress(OSError, RuntimeError), gpus.on(device):
        for used in {gpus.present(), device}:
            runtime.drain(gpus.stream(used))
    for event in their:
        with suppress(OSError):
            runtime.end_event(event)
    others_use = any(not peer.has_gone for peer in peers)
    if not is_made_here:
        with suppress(OSError):
            runtime.close(address)
    if not others_use:
        for event in own:
            with suppress(OSError):
                runtime.end_event(event)
        if is_made_here:
            with suppress(OSError):
                runtime.free(address)
    for peer in peers:
        peer.hang_up()


class DeviceSlots:
    """num_slots slots of slot_bytes each in memory, as both ends see them."""

    carrier = "GPU memory"

    def __init__(self, memory: DeviceMemory, peer: Peer, slot_bytes: int) -> None:
        self.slot_bytes = slot_bytes
        self.num_slots = len(memory.own)
        self._memory: DeviceMemory | None = memory
        self._runtime, self._gpus = memory.cuda.runtime, memory.cuda.gpus
        self._device = memory.device
        self._peer = peer
        stride = stride_of(slot_bytes)
        # A tensor for each, with a version counter of its own: a write to one slot is none to the
        # others, whatever graph they are kept in.
        self._slots = [
            self._gpus.view(memory.address + slot * stride, stride, memory.device, memory)
            for slot in range(self.num_slots)
        ]
        memory.peers.append(peer)

    def fits(self, tensor: torch.Tensor) -> bool:
        """Whether write takes this tensor."""
        return tensor.device.type == self._device.type and tensor.nbytes <= self.slot_bytes

    def write(self, slot: int, batch_id: int, tensor: torch.Tensor) -> None:
        """Queue a copy of a tensor that fits into slot, when the other end is done with it.

        Where that has gone, it is done. Raises OSError when it is stuck.
        """
        self._is_done(slot)
        lying = as_it_lies(tensor)
        self._view(slot, tensor.dtype, tuple(lying.shape)).copy_(lying, non_blocking=True)
        self._record(slot, tensor.device)

    def read(self, meta: TensorMeta, batch_id: int) -> torch.Tensor:
        """The tensor in the slot that meta names, as a view, when it is there.

        Raises LinkError when the slot does not exist or is too small, PeerGone when the other end
        has ended before it was there, OSError when that is stuck.
        """
        check_slot(self, meta, batch_id)
        if not self._is_done(meta.place):
            raise PeerGone(f"batch {batch_id}: the other end went before its tensor was there")
        # A tensor of its own each time: readers set requires_grad on it.
        view = self._view(meta.place, torch_dtype(meta), shape_in_memory(meta))
        return as_it_was(view.detach(), meta)

    def leave(self, slot: int) -> None:
        """This end has queued its last use of the slot."""
        self._record(slot, self._gpus.present())

    def finish(self, patience_s: float) -> None:
        """This end is done with all slots; wait until the other is too, patience_s at most.

        What it has queued has ended then. Who made the memory waits until it is unmapped as well.
        """
        with suppress(OSError):
            self._runtime.drain(self._gpus.stream(self._gpus.present()))
        self._peer.say_done()
        is_in_time = self._peer.await_done(patience_s)
        is_made_here = self._memory is not None and self._memory.is_made_here
        if is_in_time and is_made_here:
            self._peer.await_end(patience_s)
        self.close()

    def close(self) -> None:
        """Give the memory back, as soon as no view of it is left."""
        self._slots = []
        self._memory = None

    def _record(self, slot: int, device: torch.device) -> None:
        if self._memory is not None:
            self._runtime.record(self._memory.own[slot], self._gpus.stream(device))

    def _is_done(self, slot: int) -> bool:
        """Wait until the other end's work on slot is done; False: it went before it was."""
        if self._memory is None:
            return False
        return await_event(self._runtime, self._memory.their[slot], self._peer, PATIENCE_S)

    def _view(self, slot: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        size = math.prod(shape) * dtype.itemsize
        return self._slots[slot][:size].view(dtype).view(shape)


def await_event(runtime: CudaRuntime, event: int, peer: Peer, patience_s: float) -> bool:
    """Wait on the host until event, of peer, is done; False where peer has gone before.

    Raises OSError after patience_s, and where CUDA refuses although the peer is there.
    """
    deadline, polls = time.monotonic() + patience_s, 0
    while True:
        # Asked before the event: who has gone records nothing any more, so what is said then holds.
        has_gone = peer.await_end(POLL_S if polls >= POLLS else 0.0)
        try:
            if runtime.is_done(event):
                return True
        except OSError:
            if not peer.has_gone:
                raise
            return False
        if has_gone:
            return False
        if time.monotonic() > deadline:
            raise OSError(f"the GPU's work at the other end did not end in {patience_s:g} s")
        polls += 1


def stride_of(slot_bytes: int) -> int:
    """Bytes from one slot to the next."""
    return -(-slot_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def memory_bytes(slot_bytes: int, num_slots: int) -> int:
    """What is allocated for slots: whole blocks that CUDA puts nothing else into."""
    return -(-stride_of(slot_bytes) * num_slots // SHARED_BYTES) * SHARED_BYTES
