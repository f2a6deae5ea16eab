"""One end of the link over a boundary: whole messages in order, tensors by the shortest way.

Large tensors lie in memory that both ends map where that is to be had (see slots); then a message
is only the doorbell. Everywhere else, and until the memory is mapped, they travel as raw frames.
Small tensors always travel inline.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dni_async.errors import LinkError
from dni_async.system import output
from dni_async.transport.interface import FrameChannel, Transport
from dni_async.transport.slots.ends import LowerSlots, SlotEnd, UpperSlots
from dni_async.transport.slots.greeting import new_name
from dni_async.transport.slots.handover import SlotListener
from dni_async.transport.slots.host import can_share_memory
from dni_async.transport.slots.peer import PeerGone
from dni_async.wire.codec import decode, encode, size_bytes
from dni_async.wire.messages import (
    PACKED,
    Activation,
    LinkReady,
    Message,
    ReturnedGradient,
    SlotsAnswer,
    SlotsOffered,
    TensorMeta,
)
from dni_async.wire.packing import pack
from dni_async.wire.tensors import VIEW_BYTES, as_it_lies, describe, from_buffer, to_buffer

__all__ = ["Link", "open_inbox", "open_outbox"]

PACK_BYTES = 4096  # less is not worth the time


class Link:
    """Sends and receives whole messages with their tensors.

    A tensor that was sent in frames must not be changed afterwards: frames from 64 KB up are not
    copied. A tensor that was received may lie in shared memory: it is good until its batch is
    released at this end. frame_bytes, shared_bytes: sent so far; received_bytes: either way.

    omits_zeros: large tensors that travel in frames do so without their zeros, if those are many.
    """

    def __init__(self, channel: FrameChannel, slots: SlotEnd, *, omits_zeros: bool = False) -> None:
        self.channel = channel
        self._slots = slots
        self._omits_zeros = omits_zeros
        self._is_lost = False
        self.frame_bytes = 0
        self.shared_bytes = 0
        self.received_bytes = 0

    @property
    def endpoint(self) -> str:
        """Where the upper end listens."""
        return self.channel.endpoint

    @property
    def carrier(self) -> str:
        """What large tensors travel by now: shared memory, GPU memory, ipc or tcp."""
        slots = self._slots.slots
        return self.endpoint.partition(":")[0] if slots is None else slots.carrier

    @property
    def key(self) -> str:
        """What the upper end is known by; empty where nobody but this user can connect."""
        return self.channel.key

    @property
    def slots_at(self) -> str:
        """Upper end: where memory may be handed over, as LinkReady tells it; may be empty."""
        return self._slots.listens_at

    def share_memory(self, run_id: str, num_slots: int) -> None:
        """Lower end: memory for so many activations may be offered, where it can be shared.

        It is once LinkReady has told where.
        """
        if self.endpoint.startswith("ipc://") and can_share_memory():
            self._slots.wish(run_id, num_slots)

    def offer_slots(self, tensor: torch.Tensor) -> None:
        """Lower end: offer slots for tensors like this one, where it lies, if it is worth it.

        Once for main memory and once for a GPU's; that may take 2 s, every other call none.
        """
        offered = self._slots.offer(tensor)
        if offered is not None:
            self.send(offered)

    def takes(self, batch_id: int, tensor: torch.Tensor) -> bool:
        """Whether put lays this tensor into a slot as it is, be it on the host or on a GPU."""
        slots = self._slots.slots
        if slots is None or tensor.nbytes < VIEW_BYTES:
            return False
        return slots.fits(tensor) and self._slots.has_room(batch_id)

    def put(
        self, batch_id: int, tensors: Sequence[torch.Tensor]
    ) -> tuple[tuple[TensorMeta, ...], list[torch.Tensor]]:
        """Put a batch's tensors (on the CPU, or see takes) where the other end sees them.

        Gives what to say of each in the message, and those that must go with it as frames.
        """
        metas: list[TensorMeta] = []
        inline = []
        fit = [tensor for tensor in tensors if self.takes(batch_id, tensor)]
        largest = max(fit, key=lambda tensor: tensor.nbytes, default=None)
        for tensor in tensors:
            if tensor is largest:  # a batch has one slot
                metas.append(self._write(batch_id, tensor))
                largest = None
            else:
                meta, sent = self._inline(tensor)
                inline.append(sent)
                metas.append(meta)
        return tuple(metas), inline

    def _write(self, batch_id: int, tensor: torch.Tensor) -> TensorMeta:
        """What to say of a tensor that is in its batch's slot now."""
        slot = self._slots.lend(batch_id)
        assert self._slots.slots is not None
        self._slots.slots.write(slot, batch_id, tensor)
        self.shared_bytes += tensor.nbytes
        return describe(tensor, slot)

    def _inline(self, tensor: torch.Tensor) -> tuple[TensorMeta, torch.Tensor]:
        """What to say of a tensor that goes in a frame, and what goes."""
        if self._omits_zeros and tensor.nbytes >= PACK_BYTES and tensor.is_floating_point():
            packed = pack(as_it_lies(tensor))
            if packed is not None:
                return describe(tensor, PACKED), packed
        return describe(tensor), tensor

    def release(self, batch_id: int) -> None:
        """This end is done with the batch: its slot may be used again."""
        self._slots.release(batch_id)

    def send(self, message: Message, tensors: Sequence[torch.Tensor] = ()) -> None:
        """Queue message with its inline tensors; never blocks."""
        frames = encode(message, [to_buffer(tensor) for tensor in tensors])
        self.frame_bytes += sum(map(len, frames))
        self.channel.send(frames)

    def receive(self) -> tuple[Message, list[torch.Tensor]] | None:
        """The next message and its tensors, or None when there is none yet.

        Raises WireError for frames that are no message, LinkError for a slot that does not fit,
        OSError when memory that was shared is lost. Where the other end was killed over a tensor
        that its GPU had not finished, that and all behind it count as never sent.
        """
        while True:
            frames = self.channel.receive()
            if frames is None:
                return None
            if self._is_lost:
                continue
            for frame in frames:
                self.received_bytes += frame.nbytes
            message, views = decode(frames)
            match message:
                case Activation() | ReturnedGradient():
                    try:
                        return message, self._tensors(message, views)
                    except PeerGone as error:
                        output.complain(f"{self.endpoint}: {error}; it is awaited anew")
                        self._is_lost = True
                case SlotsOffered() | SlotsAnswer():
                    answer = self._slots.hear(message)
                    if answer is not None:
                        self.send(answer)
                case LinkReady(slots=path):
                    self._slots.hear_where(path)
                    return message, []
                case _:
                    return message, []

    def finish(self, patience_s: float) -> None:
        """All is sent and received: wait until the other end is done with a GPU's slots."""
        self._slots.finish(patience_s)

    def close(self) -> None:
        """Stop listening for slots and give them back; the sockets are closed by their owner."""
        self._slots.close()

    def _tensors(
        self, message: Activation | ReturnedGradient, views: list[memoryview]
    ) -> list[torch.Tensor]:
        frames = iter(views)
        return [
            from_buffer(meta, next(frames)) if meta.place < 0 else self._read(message, meta)
            for meta in message.tensors
        ]

    def _read(self, message: Activation | ReturnedGradient, meta: TensorMeta) -> torch.Tensor:
        """The tensor in the slot that meta names."""
        slots = self._slots.slots
        if slots is None:
            raise LinkError(f"slot {meta.place} was named, but no memory is shared")
        self._slots.arrived(message.batch_id, meta.place)
        tensor = slots.read(meta, message.batch_id)
        self.received_bytes += size_bytes(meta)
        return tensor


def open_inbox(
    transport: Transport, address: str, *, near: str = "", shares_memory: bool = False
) -> Link:
    """The upper end of a link: listen for the stage below on ipc://PATH or tcp://HOST:0.

    near: listen on ipc://@NAME as well. shares_memory: take memory from whoever is near, at a
    socket beside PATH, or without a file by a name of which nobody knows before LinkReady.
    """
    channel = transport.listening(address, near)
    scheme, _, path = address.partition("://")
    listener = None
    if shares_memory and (near or scheme == "ipc") and can_share_memory():
        listener = SlotListener(new_name() if near else f"{path}.slots")
    return Link(channel, UpperSlots(listener))


def open_outbox(
    transport: Transport, address: str, key: str = "", *, omits_zeros: bool = False
) -> Link:
    """The lower end of a link: connect to the stage above, which is known by key, if it has one."""
    channel = transport.connected(address, key)
    return Link(channel, LowerSlots(address), omits_zeros=omits_zeros)
