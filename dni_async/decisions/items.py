"""What stands in the order of work, and travels up the line: batches, markers and cuts."""

from __future__ import annotations

from dataclasses import dataclass, field

from dni_async.wire.messages import MarkerKind, Purpose

__all__ = ["Batch", "Cut", "Item", "Mark", "Pause"]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch. epoch (from 1) and index (within its epoch and purpose) matter to the source."""

    batch_id: int
    purpose: Purpose
    anchor: bool = False
    epoch: int = 0
    index: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """A marker on its way, the same whatever its next_batch_id says; see messages.Marker."""

    kind: MarkerKind
    epoch: int
    next_batch_id: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Pause(Mark):
    """A marker before a training batch, its next_batch_id: that of epoch with that index.

    When it is back nothing is in flight, and every stage saves what it is. epoch 0: before the end.
    """

    index: int = 0

    @classmethod
    def before(cls, item: Batch | Cut) -> Pause:
        """The pause that item comes after."""
        return cls("pause", item.epoch, item.batch_id, item.index)


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a checkpoint cuts the source's order of work: just before a training batch.

    batch_id, epoch and index are that batch's, the first one that the checkpoint does not hold.
    """

    batch_id: int
    epoch: int
    index: int

    @classmethod
    def before(cls, batch: Batch) -> Cut:
        """The cut that batch comes after."""
        return cls(batch.batch_id, batch.epoch, batch.index)


Item = Batch | Mark | Cut
