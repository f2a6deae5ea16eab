"""Which slot belongs to which batch, at either end of a link, and whether there are any."""

from __future__ import annotations

from typing import Protocol

import torch

from dni_async.errors import LinkError
from dni_async.system import output
from dni_async.transport.slots.handover import SlotListener, offer_slots
from dni_async.transport.slots.interface import SharedSlots, SlotOffer
from dni_async.wire.messages import SlotsAnswer, SlotsOffered
from dni_async.wire.tensors import VIEW_BYTES

__all__ = ["LowerSlots", "SlotEnd", "UpperSlots"]


class SlotEnd(Protocol):
    """One end's part. slots: None until both ends have mapped them.

    listens_at: where the upper end takes memory, a path or @NAME; empty where none is taken.
    """

    slots: SharedSlots | None

    @property
    def listens_at(self) -> str: ...

    def wish(self, run_id: str, num_slots: int) -> None:
        """From now on memory may be offered, once it is known where."""

    def hear_where(self, path: str) -> None:
        """The other end takes memory there; nowhere, if that is empty."""

    def offer(self, tensor: torch.Tensor) -> SlotsOffered | None:
        """Hand memory for tensors like this one over, where that is due; what to say of it."""

    def hear(self, message: SlotsOffered | SlotsAnswer) -> SlotsAnswer | None:
        """What to answer. Raises LinkError for what was not asked."""

    def has_room(self, batch_id: int) -> bool:
        """Whether lend has a slot for the batch."""

    def lend(self, batch_id: int) -> int:
        """The batch's slot, to write into."""

    def arrived(self, batch_id: int, slot: int) -> None:
        """The other end wrote into slot for the batch. Raises LinkError if that is not its."""

    def release(self, batch_id: int) -> None:
        """This end is done with the batch: its slot may be used again."""

    def finish(self, patience_s: float) -> None:
        """The work is done: wait until the other end's is, where the memory needs that."""

    def close(self) -> None:
        """Listen no more, and give the memory back."""


class LowerSlots:
    """The lower end's: it makes the slots, lends one to each batch and takes it back.

    endpoint: of the link, for what is said of it. Each kind of memory is offered once: what cannot
    be had then travels in frames.
    """

    def __init__(self, endpoint: str) -> None:
        self.slots: SharedSlots | None = None
        self._endpoint = endpoint
        self._wish: tuple[str, int] | None = None  # run id, number of slots
        self._path: str | None = None  # not told yet
        self._tried: set[str] = set()
        self._offered: tuple[str, SlotOffer] | None = None
        self._free: list[int] = []
        self._slot_of: dict[int, int] = {}

    @property
    def listens_at(self) -> str:
        """Nowhere."""
        return ""

    def wish(self, run_id: str, num_slots: int) -> None:
        """From now on memory may be offered, once it is known where."""
        self._wish = (run_id, num_slots)

    def hear_where(self, path: str) -> None:
        """The other end takes memory there; nowhere, if that is empty."""
        self._path = path

    def offer(self, tensor: torch.Tensor) -> SlotsOffered | None:
        """Hand memory for tensors like this one over, if it is the first large one of its kind.

        That may take HANDOVER_TIMEOUT_S. The slots are used once the other end has mapped them.
        """
        kind = "GPU memory" if tensor.is_cuda else "memory"
        is_due = self._wish and self._offered is None and self.slots is None
        if not is_due or tensor.nbytes < VIEW_BYTES or kind in self._tried or self._path is None:
            return None
        assert self._wish is not None
        run_id, num_slots = self._wish
        self._tried.add(kind)
        if not self._path:
            self._say(kind, "the other end takes none")
            return None
        try:
            self._offered = kind, offer_slots(self._path, run_id, tensor, num_slots)
        except OSError as error:
            self._say(kind, error.strerror or str(error))
            return None
        return SlotsOffered(run_id)

    def hear(self, message: SlotsOffered | SlotsAnswer) -> SlotsAnswer | None:
        """Take up what was offered, or withdraw it."""
        if isinstance(message, SlotsOffered):
            return SlotsAnswer(message.run_id, False, "this end does not listen for slots")
        if self._offered is None:
            raise LinkError("an answer about slots that were not offered")
        (kind, offered), self._offered = self._offered, None
        reason = message.reason
        if message.accepted:
            try:
                self.slots = offered.take_up()
            except OSError as error:
                reason = error.strerror or str(error)
        if self.slots is None:
            self._say(kind, reason)
            offered.withdraw()
        else:
            self._free = list(range(self.slots.num_slots))
        return None

    def has_room(self, batch_id: int) -> bool:
        """Whether a slot is free, or the batch's already."""
        return bool(self._free) or batch_id in self._slot_of

    def lend(self, batch_id: int) -> int:
        """The batch's slot; a free one becomes it."""
        if batch_id not in self._slot_of:
            self._slot_of[batch_id] = self._free.pop()
        return self._slot_of[batch_id]

    def arrived(self, batch_id: int, slot: int) -> None:
        """A gradient comes back where its activation went up."""
        if self._slot_of.get(batch_id) != slot:
            raise LinkError(f"a gradient came in slot {slot}, which is not batch {batch_id}'s")

    def release(self, batch_id: int) -> None:
        """Its slot is free."""
        slot = self._slot_of.pop(batch_id, None)
        if slot is not None:
            self._free.append(slot)

    def finish(self, patience_s: float) -> None:
        """The work is done: wait until the other end's is, where the memory needs that."""
        if self.slots is not None:
            self.slots.finish(patience_s)

    def close(self) -> None:
        """Give the memory back."""
        if self._offered is not None:
            self._offered[1].withdraw()
            self._offered = None
        if self.slots is not None:
            self.slots.close()

    def _say(self, kind: str, reason: str) -> None:
        output.complain(
            f"{kind} is not shared over {self._endpoint} ({reason}); tensors travel in frames"
        )


class UpperSlots:
    """The upper end's: it maps what is offered, and answers in the slots that batches came in.

    listener: where slots are handed over; None where none are taken.
    """

    def __init__(self, listener: SlotListener | None) -> None:
        self.slots: SharedSlots | None = None
        self._listener = listener
        self._slot_of: dict[int, int] = {}

    @property
    def listens_at(self) -> str:
        """Where slots are handed over, if any are taken."""
        return "" if self._listener is None else self._listener.path

    def wish(self, run_id: str, num_slots: int) -> None:
        """This end is offered memory, and offers none."""

    def hear_where(self, path: str) -> None:
        """This end says it, and is not told."""

    def offer(self, tensor: torch.Tensor) -> None:
        """Never."""

    def hear(self, message: SlotsOffered | SlotsAnswer) -> SlotsAnswer | None:
        """Map what was handed over, or say why not."""
        if isinstance(message, SlotsAnswer):
            raise LinkError("an answer about slots that were not offered")
        reason = ""
        try:
            if self._listener is None:
                raise LinkError("this end does not listen for slots")
            self.slots = self._listener.receive(message.run_id)
        except (OSError, LinkError) as error:
            reason = str(error)
        return SlotsAnswer(message.run_id, not reason, reason)

    def has_room(self, batch_id: int) -> bool:
        """Whether the batch came in a slot."""
        return batch_id in self._slot_of

    def lend(self, batch_id: int) -> int:
        """The slot that the batch came in."""
        return self._slot_of[batch_id]

    def arrived(self, batch_id: int, slot: int) -> None:
        """The batch keeps the slot until it is released."""
        self._slot_of[batch_id] = slot

    def release(self, batch_id: int) -> None:
        """This end has made its last use of the slot; its credit frees it."""
        slot = self._slot_of.pop(batch_id, None)
        if slot is not None and self.slots is not None:
            self.slots.leave(slot)

    def finish(self, patience_s: float) -> None:
        """The work is done: wait until the other end's is, where the memory needs that."""
        if self.slots is not None:
            self.slots.finish(patience_s)

    def close(self) -> None:
        """Listen no more, and give the memory back."""
        if self._listener is not None:
            self._listener.close()
        if self.slots is not None:
            self.slots.close()
