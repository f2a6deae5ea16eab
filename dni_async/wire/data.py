"""The messages between neighbouring stages; ``messages`` has all that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from dni_async.wire.text import Exact, Words

__all__ = [
    "INLINE",
    "PACKED",
    "Activation",
    "CheckpointMark",
    "Credit",
    "LinkHello",
    "LinkReady",
    "Marker",
    "MarkerKind",
    "Purpose",
    "ReturnedGradient",
    "SlotsAnswer",
    "SlotsOffered",
    "TensorMeta",
]

Purpose = Literal["train", "evaluate"]
MarkerKind = Literal["trained", "evaluated", "stop", "pause"]


INLINE: Final = -1
PACKED: Final = -2


@dataclass(frozen=True, slots=True)
class TensorMeta:
    """Shape and dtype of one tensor that travels with a message.

    place INLINE: the bytes follow as the next raw frame. PACKED: so do they, without the zeros (see
    packing). place >= 0: they lie in that slot of the memory both ends map, and no frame follows.
    is_channels_last: of maps [B, C, H, W] the bytes are in the order of [B, H, W, C].
    """

    dtype: str
    shape: tuple[int, ...]
    place: int = INLINE
    is_channels_last: bool = False


# --- data plane: between neighbouring stages -------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkHello:
    """First message of a link, from its lower end: who speaks, and for which run."""

    run_id: str
    stage: int
    window: int


@dataclass(frozen=True, slots=True)
class LinkReady:
    """Answer to LinkHello from the upper end: the link is up.

    next_batch_id: one past the last batch that came over the link before this one; a replacement
    goes on from there. 0 at the start of a run. slots: the unix socket at which memory may be
    handed over, a path or @NAME; empty where none is taken.
    """

    run_id: str
    stage: int
    next_batch_id: int = 0
    slots: str = ""


@dataclass(frozen=True, slots=True)
class SlotsOffered:
    """Upwards: shared memory has been handed over beside this link; may it be used?"""

    run_id: str


@dataclass(frozen=True, slots=True)
class SlotsAnswer:
    """Downwards: the shared memory is mapped (then tensors may lie in it) or was not accepted."""

    run_id: str
    accepted: bool
    reason: Words


@dataclass(frozen=True, slots=True)
class Activation:
    """Upwards: one batch. Tensors: the values of the activation, in order, then the targets.

    structure: how the values stand in what the layer gave, and which need a gradient; empty for
    one tensor, which needs one. version is the sender's count of updates when the activation was
    computed. anchor: the true gradient of this batch is to be carried all the way down.
    """

    run_id: str
    batch_id: int
    version: int
    purpose: Purpose
    anchor: bool
    tensors: tuple[TensorMeta, ...]
    structure: Exact = ""


@dataclass(frozen=True, slots=True)
class ReturnedGradient:
    """Downwards: dL/d(hidden) of a batch. Tensors: of the shape and dtype of each value of that
    activation that needs a gradient, in order.

    releases: the activation's place in the window is free again.
    """

    run_id: str
    batch_id: int
    version: int
    releases: bool
    tensors: tuple[TensorMeta, ...]


@dataclass(frozen=True, slots=True)
class Credit:
    """Downwards: these activations' places in the window are free again; no gradients with it.

    At least one, at most MAX_CREDITS.
    """

    run_id: str
    batch_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Marker:
    """Travels up behind all work sent before it, then down behind all gradients.

    When it is back at the source, every stage has finished what the source had sent. next_batch_id:
    of the batch behind it in the source's order of work, so that a new source goes on there even
    where the batches before it were skipped; 0 where that is not known. index: of a pause, that
    batch's in its epoch.
    """

    run_id: str
    kind: MarkerKind
    epoch: int
    next_batch_id: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class CheckpointMark:
    """Upwards, never back: a checkpoint cuts the order of work just before this training batch.

    A stage saves when it has taken up all that was sent before this, and goes on.
    """

    run_id: str
    batch_id: int
    epoch: int
    index: int
