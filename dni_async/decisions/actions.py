"""What a stage machine hears (events) and answers (actions)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dni_async.decisions.items import Batch, Cut, Item, Mark, Pause
from dni_async.wire.messages import Side

__all__ = [
    "Action",
    "Announce",
    "Arrived",
    "Batch",
    "CarryBack",
    "CheckpointDue",
    "Credited",
    "Cut",
    "Drained",
    "Evaluate",
    "Event",
    "Finish",
    "Forget",
    "Forward",
    "GiveCredit",
    "GradientSource",
    "HoldDue",
    "HoldOver",
    "Idle",
    "Item",
    "Keep",
    "Learn",
    "LearnInput",
    "LinkRemade",
    "Load",
    "LowerMarker",
    "Mark",
    "MarkerReturned",
    "Pause",
    "RaiseCut",
    "RaiseMarker",
    "Recall",
    "ReturnGradient",
    "Returned",
    "Save",
    "Send",
    "SynthesizeInput",
    "TellPaused",
    "Turn",
    "Update",
    "WindowSet",
    "Wish",
]

GradientSource = Literal["loss", "synthetic", "returned"]


@dataclass(frozen=True, slots=True)
class Arrived:
    """The stage below sent a batch, a marker or a cut."""

    item: Item


@dataclass(frozen=True, slots=True)
class Returned:
    """The stage above returned a gradient, which also frees the batch's place in the window."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Credited:
    """The stage above freed a batch's place in the window."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class MarkerReturned:
    """A marker came back down: everything above is done."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class LinkRemade:
    """The neighbour on that side has been replaced, and nothing more comes from the old one."""

    side: Side


@dataclass(frozen=True, slots=True)
class WindowSet:
    """From now on so many places of the link above may be taken at once."""

    window: int


@dataclass(frozen=True, slots=True)
class Turn:
    """The worker has nothing in hand and offers to compute one batch."""


@dataclass(frozen=True, slots=True)
class Drained:
    """Source: no more batches are wanted; what is under way is to be finished."""


@dataclass(frozen=True, slots=True)
class CheckpointDue:
    """Source: a checkpoint is wanted before the next training batch."""


@dataclass(frozen=True, slots=True)
class HoldDue:
    """Source: the line is to pause before the first training batch from batch_id on.

    is_over: nobody needs it any more, but the stage above may have the pause of a source before.
    """

    number: int
    batch_id: int
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class HoldOver:
    """Source: the pause with that number is over, or is not needed."""

    number: int


@dataclass(frozen=True, slots=True)
class Idle:
    """The worker has nothing to do and is about to wait."""


Wish = Drained | CheckpointDue | WindowSet | HoldDue | HoldOver
Event = Arrived | Returned | Credited | MarkerReturned | LinkRemade | Turn | Idle | Wish


# --- actions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """Fetch the batch's samples: the source, and with unlock "forward" every stage."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Keep:
    """Copy the batch's inputs, to be recalled; gives_way: an earlier copy that is dropped."""

    batch_id: int
    gives_way: int | None


@dataclass(frozen=True, slots=True)
class Recall:
    """Take up the copy of an earlier batch once more, by an id of its own (below 0)."""

    batch_id: int
    kept_id: int


@dataclass(frozen=True, slots=True)
class SynthesizeInput:
    """Predict the stage's input from the samples, instead of waiting for it."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Compute the activation and keep what an update needs.

    keeps_graph: else the inputs alone are kept, and the update replays them. is_late: it comes
    after others, and pulls back through the weights of its time. returns_gradient: it also gives
    the gradient of the inputs. keeps_inputs: hold them beyond it, for CarryBack.
    """

    batch_id: int
    keeps_graph: bool
    returns_gradient: bool
    keeps_inputs: bool = False
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Compute the activation in evaluation mode; the head scores it."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send the activation up; takes a place in the window."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Update:
    """Pull the gradient, times scale, back through the stage and apply it.

    applies False: the gradient of the input alone is wanted, the parameters stay.
    """

    batch_id: int
    source: GradientSource
    scale: float = 1.0
    applies: bool = True


@dataclass(frozen=True, slots=True)
class CarryBack:
    """Replay the kept inputs and pull the returned gradient back to them; nothing is updated."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Learn:
    """Train the synthesizer on the returned gradient."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class LearnInput:
    """Train the input synthesizer on the activation that came from below."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class ReturnGradient:
    """Send the gradient of the stage's input down; frees its place in the window below."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class GiveCredit:
    """Free these inputs' places in the window below, without gradients."""

    batch_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop what is kept of a batch: nothing more will be asked of it."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class RaiseMarker:
    """Pass a marker up."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class RaiseCut:
    """Pass a cut up."""

    cut: Cut


@dataclass(frozen=True, slots=True)
class Save:
    """Save what the stage is now as its part of the checkpoint."""

    cut: Cut


@dataclass(frozen=True, slots=True)
class TellPaused:
    """Source: nothing is in flight anywhere, and nothing is sent before HoldOver."""

    number: int
    pause: Pause


@dataclass(frozen=True, slots=True)
class LowerMarker:
    """Pass a marker down."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the coordinator what this stage knows now that mark has passed."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Finish:
    """Save and leave: nothing more will come."""


Action = (
    Load
    | Keep
    | Recall
    | SynthesizeInput
    | Forward
    | Evaluate
    | Send
    | Update
    | CarryBack
    | Learn
    | LearnInput
    | ReturnGradient
    | GiveCredit
    | Forget
    | RaiseMarker
    | RaiseCut
    | Save
    | TellPaused
    | LowerMarker
    | Announce
    | Finish
)
