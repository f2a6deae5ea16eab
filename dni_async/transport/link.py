"""One end of the link over a boundary: whole messages in order, tensors by the shortest way.

Large tensors lie in memory that both ends map where that is to be had (see slots, and
device_slots for GPUs); then a message is only the doorbell. Everywhere else, and until the
memory is mapped, they travel as raw frames. Small tensors always travel inline.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import torch

from dni_async.errors import LinkError
from dni_async.transport.channels import FrameSocket
from dni_async.transport.device_slots import (
    DEVICE_MAGIC,
    DeviceOffer,
    DeviceSlots,
    offer_device_slots,
)
from dni_async.transport.host_slots import (
    HANDOVER_TIMEOUT_S,
    SlotListener,
    Slots,
    can_share_memory,
    hand_over,
    make_greeting,
    make_slots,
)
from dni_async.transport.sockets import Sockets
from dni_async.wire.codec import decode, encode, size_bytes
from dni_async.wire.messages import (
    PACKED,
    Activation,
    Message,
    ReturnedGradient,
    SlotsAnswer,
    SlotsOffered,
    TensorMeta,
)
from dni_async.wire.packing import pack
from dni_async.wire.tensors import VIEW_BYTES, describe, from_buffer, to_buffer

__all__ = ["Link", "open_inbox", "open_outbox"]

PACK_BYTES = 4096  # less is not worth the time


class Link:
    """Sends and receives whole messages with their tensors.

    A tensor that was sent in frames must not be changed afterwards: frames from 64 KB up are not
    copied. A tensor that was received may lie in shared memory: it is good until its batch is
    released at this end. frame_bytes, shared_bytes: sent so far; received_bytes: either way.

    omits_zeros: large tensors that travel in frames do so without their zeros, if those are many.
    """

    def __init__(
        self,
        channel: FrameSocket,
        *,
        is_lower: bool,
        listener: SlotListener | None = None,
        omits_zeros: bool = False,
    ) -> None:
        self.channel = channel
        self._omits_zeros = omits_zeros
        self.frame_bytes = 0
        self.shared_bytes = 0
        self.received_bytes = 0
        self._listener = listener
        self._slots: Slots | DeviceSlots | None = None
        self._is_lower = is_lower
        self._wish: tuple[str, str, int] | None = None  # path, run id, number of slots
        self._may_be_on_device = True
        self._offered: Slots | DeviceOffer | None = None
        self._free: list[int] = []
        self._slot_of: dict[int, int] = {}

    @property
    def endpoint(self) -> str:
        """Where the upper end listens."""
        return self.channel.endpoint

    @property
    def carrier(self) -> str:
        """What large tensors travel by now: shared memory, GPU memory, ipc or tcp."""
        if self._slots is None:
            return self.endpoint.partition(":")[0]
        return "GPU memory" if self._slots.is_on_device else "shared memory"

    def share_memory(self, run_id: str, num_slots: int) -> None:
        """Lower end: offer shared memory when the first large tensor shows how big it must be."""
        scheme, _, path = self.endpoint.partition("://")
        if scheme == "ipc" and can_share_memory():
            self._wish = (f"{path}.slots", run_id, num_slots)

    def takes_from_device(self, batch_id: int, tensor: torch.Tensor) -> bool:
        """Whether put takes a GPU's tensor for this batch as it is; else bring it to the host.

        Lower end: the first one that is large offers slots in that GPU's memory, used when the
        other end has mapped them.
        """
        if not tensor.is_cuda or tensor.nbytes < VIEW_BYTES:
            return False
        if self._wish is not None and self._may_be_on_device and self._offered is None:
            self._may_be_on_device = False
            self._offer_on_device(tensor, *self._wish)
        if self._slots is None or not self._slots.is_on_device:
            return False
        return self._slot_for(batch_id, tensor) is not None

    def put(
        self, batch_id: int, tensors: Sequence[torch.Tensor]
    ) -> tuple[tuple[TensorMeta, ...], list[torch.Tensor]]:
        """Put a batch's tensors (CPU, or see takes_from_device) where the other end sees them.

        Gives what to say of each in the message, and those that must go with it as frames.
        """
        metas: list[TensorMeta] = []
        inline = []
        for tensor in tensors:
            slot = None
            # A batch has one slot, and its first large tensor lies there: labels too can be large.
            if tensor.nbytes >= VIEW_BYTES and all(meta.place < 0 for meta in metas):
                slot = self._slot_for(batch_id, tensor)
            if slot is None:
                meta, sent = self._inline(tensor)
                inline.append(sent)
                metas.append(meta)
            else:
                assert self._slots is not None
                self._slots.write(slot, batch_id, tensor)
                self.shared_bytes += tensor.nbytes
                metas.append(describe(tensor, slot))
        return tuple(metas), inline

    def _inline(self, tensor: torch.Tensor) -> tuple[TensorMeta, torch.Tensor]:
        """What to say of a tensor that goes in a frame, and what goes."""
        if self._omits_zeros and tensor.nbytes >= PACK_BYTES and tensor.is_floating_point():
            packed = pack(tensor)
            if packed is not None:
                return describe(tensor, PACKED), packed
        return describe(tensor), tensor

    def release(self, batch_id: int) -> None:
        """This end is done with the batch: its slot may be used again."""
        slot = self._slot_of.pop(batch_id, None)
        if slot is None:
            return
        if self._is_lower:
            self._free.append(slot)
        else:
            assert self._slots is not None
            self._slots.leave(slot)

    def send(self, message: Message, tensors: Sequence[torch.Tensor] = ()) -> None:
        """Queue message with its inline tensors; never blocks."""
        frames = encode(message, [to_buffer(tensor) for tensor in tensors])
        self.frame_bytes += sum(len(frame) for frame in frames)
        self.channel.send(frames)

    def receive(self) -> tuple[Message, list[torch.Tensor]] | None:
        """The next message and its tensors, or None when there is none yet.

        Raises WireError for frames that are no message, LinkError for a slot that does not fit,
        OSError when memory that was shared is lost.
        """
        while True:
            frames = self.channel.receive()
            if frames is None:
                return None
            self.received_bytes += sum(frame.nbytes for frame in frames)
            message, views = decode(frames)
            match message:
                case Activation() | ReturnedGradient():
                    return message, self._tensors(message, views)
                case SlotsOffered(run_id):
                    self._accept(run_id)
                case SlotsAnswer():
                    self._hear_answer(message)
                case _:
                    return message, []

    def close(self) -> None:
        """Stop listening for slots; the sockets are closed by their owner."""
        if self._listener is not None:
            self._listener.close()

    def _tensors(
        self, message: Activation | ReturnedGradient, views: list[memoryview]
    ) -> list[torch.Tensor]:
        frames = iter(views)
        tensors = []
        for meta in message.tensors:
            if meta.place < 0:
                tensors.append(from_buffer(meta, next(frames)))
                continue
            if self._slots is None:
                raise LinkError(f"slot {meta.place} was named, but no memory is shared")
            if not self._is_lower:
                self._slot_of[message.batch_id] = meta.place
            elif self._slot_of.get(message.batch_id) != meta.place:
                raise LinkError(
                    f"a gradient came in slot {meta.place}, which is not batch {message.batch_id}'s"
                )
            tensors.append(self._slots.read(meta, message.batch_id))
            self.received_bytes += size_bytes(meta)
        return tensors

    def _slot_for(self, batch_id: int, tensor: torch.Tensor) -> int | None:
        """The slot for a large tensor, None if it must go in frames."""
        if self._wish is not None and self._offered is None and not tensor.is_cuda:
            self._offer(tensor.nbytes)
        if self._slots is None or tensor.nbytes > self._slots.slot_bytes:
            return None
        if self._slots.is_on_device != tensor.is_cuda:
            return None
        if self._is_lower and batch_id not in self._slot_of and self._free:
            self._slot_of[batch_id] = self._free.pop()
        return self._slot_of.get(batch_id)

    def _offer(self, slot_bytes: int) -> None:
        """Make the slots and hand them over; they are used once the other end has mapped them."""
        assert self._wish is not None
        (path, run_id, num_slots), self._wish = self._wish, None
        try:
            slots, fd = make_slots(slot_bytes, num_slots)
            try:
                hand_over(path, run_id, fd, slots)
            finally:
                os.close(fd)
        except OSError as error:
            self._say_once(error.strerror or str(error))
            return
        self._offered = slots
        self.send(SlotsOffered(run_id))

    def _offer_on_device(self, tensor: torch.Tensor, path: str, run_id: str, count: int) -> None:
        """As _offer, in the memory of the tensor's GPU; main memory remains to be offered."""
        greeting = make_greeting(DEVICE_MAGIC, run_id, tensor.nbytes, count)
        try:
            self._offered = offer_device_slots(path, greeting, tensor, count, HANDOVER_TIMEOUT_S)
        except OSError as error:
            self._say_once(error.strerror or str(error))
            return
        self.send(SlotsOffered(run_id))

    def _accept(self, run_id: str) -> None:
        reason = ""
        try:
            if self._listener is None:
                raise LinkError("this end does not listen for slots")
            self._slots = self._listener.receive(run_id)
        except (OSError, LinkError) as error:
            reason = str(error)
        self.send(SlotsAnswer(run_id, not reason, reason))

    def _hear_answer(self, answer: SlotsAnswer) -> None:
        offered, self._offered = self._offered, None
        if offered is None:
            raise LinkError("an answer about slots that were not offered")
        if not answer.accepted:
            self._say_once(answer.reason)
            if isinstance(offered, DeviceOffer):
                offered.withdraw()
            return
        self._wish = None
        self._slots = offered.take_up() if isinstance(offered, DeviceOffer) else offered
        self._free = list(range(self._slots.num_slots))

    def _say_once(self, reason: str) -> None:
        print(
            f"memory is not shared over {self.endpoint} ({reason}); tensors travel in frames",
            file=sys.stderr,
            flush=True,
        )


def open_inbox(
    sockets: Sockets, address: str, *, near: str = "", shares_memory: bool = False
) -> Link:
    """The upper end of a link: listen for the stage below on ipc://PATH or tcp://HOST:0.

    near: listen on ipc://@NAME as well.
    """
    channel = sockets.listening(address, near)
    listener = None
    shared = near or address
    if shares_memory and shared.startswith("ipc://") and can_share_memory():
        listener = SlotListener(f"{shared.removeprefix('ipc://')}.slots")
    return Link(channel, is_lower=False, listener=listener)


def open_outbox(sockets: Sockets, address: str, *, omits_zeros: bool = False) -> Link:
    """The lower end of a link: connect to the stage above."""
    return Link(sockets.connected(address), is_lower=True, omits_zeros=omits_zeros)
