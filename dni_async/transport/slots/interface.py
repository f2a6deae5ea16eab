"""What every kind of shared memory offers to a link: a fixed number of slots, one batch each."""

from __future__ import annotations

from typing import Protocol

import torch

from dni_async.errors import LinkError
from dni_async.wire.codec import size_bytes
from dni_async.wire.messages import TensorMeta

__all__ = ["SharedSlots", "SlotOffer", "check_slot"]


class SharedSlots(Protocol):
    """num_slots slots of slot_bytes each, in memory that both ends of a link map.

    carrier: what people call it.
    """

    slot_bytes: int
    num_slots: int
    carrier: str

    def fits(self, tensor: torch.Tensor) -> bool:
        """Whether write takes this tensor: small enough, and in this kind of memory."""

    def write(self, slot: int, batch_id: int, tensor: torch.Tensor) -> None:
        """Put a copy of a tensor that fits into the slot, for the batch."""

    def read(self, meta: TensorMeta, batch_id: int) -> torch.Tensor:
        """The tensor in the slot that meta names, as a view.

        Raises LinkError when the slot does not exist, is too small or holds another batch.
        """

    def leave(self, slot: int) -> None:
        """This end is done with what is in the slot."""

    def finish(self, patience_s: float) -> None:
        """This end is done with all slots. Waits for the other where the memory needs that."""

    def close(self) -> None:
        """The link has ended: the memory goes with the last view of it."""


class SlotOffer(Protocol):
    """Slots that were handed over to the other end, which has not answered yet."""

    def take_up(self) -> SharedSlots:
        """The slots, once the other end has accepted.

        Raises OSError; withdraw is still due then.
        """

    def withdraw(self) -> None:
        """Free what was made, as far as that can be done; raises nothing."""


def check_slot(slots: SharedSlots, meta: TensorMeta, batch_id: int) -> None:
    """Raises LinkError unless the slot that meta names exists and holds as much as meta says."""
    size = size_bytes(meta)
    if not 0 <= meta.place < slots.num_slots or not 0 < size <= slots.slot_bytes:
        raise LinkError(
            f"batch {batch_id}: {size} bytes in slot {meta.place}, but there are "
            f"{slots.num_slots} slots of {slots.slot_bytes} bytes"
        )
