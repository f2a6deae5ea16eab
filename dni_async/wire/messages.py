"""Every message that crosses a process boundary, and the version of the protocol.

A message is a frozen value of plain fields; tensors travel beside it as raw frames that
``TensorMeta`` describes. ``docs/protocol.md`` says who may send which message when.
"""

from __future__ import annotations

from dni_async.wire.control import (
    MAX_FIGURES,
    MAX_NAME,
    MAX_PART_BYTES,
    Alive,
    BoundaryEpoch,
    Bye,
    EndReached,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Failed,
    FileKind,
    FilePart,
    FileWanted,
    Hello,
    InboxMoved,
    Join,
    Paused,
    Progress,
    Ready,
    Regrouped,
    Saved,
)
from dni_async.wire.data import (
    INLINE,
    PACKED,
    Activation,
    CheckpointMark,
    Credit,
    LinkHello,
    LinkReady,
    Marker,
    MarkerKind,
    Purpose,
    ReturnedGradient,
    SlotsAnswer,
    SlotsOffered,
    TensorMeta,
)
from dni_async.wire.orders import (
    Assigned,
    Drain,
    EpochEntered,
    FileHeard,
    GoOn,
    Heartbeat,
    Hold,
    NeighbourReplaced,
    Regroup,
    Scalar,
    Side,
    Start,
    Stop,
    TellAgain,
    Welcome,
)

__all__ = [
    "INLINE",
    "MAX_CREDITS",
    "MAX_FIGURES",
    "MAX_NAME",
    "MAX_PART_BYTES",
    "PACKED",
    "PROTOCOL",
    "Activation",
    "Alive",
    "Assigned",
    "BoundaryEpoch",
    "Bye",
    "CheckpointMark",
    "CoordinatorMessage",
    "Credit",
    "DataMessage",
    "Drain",
    "EndReached",
    "EpochEntered",
    "EpochLoss",
    "EpochTrained",
    "Evaluated",
    "Failed",
    "FileHeard",
    "FileKind",
    "FilePart",
    "FileWanted",
    "GoOn",
    "Heartbeat",
    "Hello",
    "Hold",
    "InboxMoved",
    "Join",
    "LinkHello",
    "LinkReady",
    "Marker",
    "MarkerKind",
    "Message",
    "NeighbourReplaced",
    "Paused",
    "Progress",
    "Purpose",
    "Ready",
    "Regroup",
    "Regrouped",
    "ReturnedGradient",
    "Saved",
    "Scalar",
    "Side",
    "SlotsAnswer",
    "SlotsOffered",
    "Start",
    "Stop",
    "TellAgain",
    "TensorMeta",
    "Welcome",
    "WorkerMessage",
]

PROTOCOL = 10  # bumped whenever a message changes; both ends must agree

MAX_CREDITS = 8  # in one message
DataMessage = (
    LinkHello
    | LinkReady
    | SlotsOffered
    | SlotsAnswer
    | Activation
    | ReturnedGradient
    | Credit
    | Marker
    | CheckpointMark
)
WorkerMessage = (
    Join
    | Alive
    | Hello
    | Ready
    | Progress
    | EpochTrained
    | EpochLoss
    | BoundaryEpoch
    | Evaluated
    | Saved
    | Failed
    | Bye
    | InboxMoved
    | FileWanted
    | FilePart
    | EndReached
    | Paused
    | Regrouped
)
CoordinatorMessage = (
    Assigned
    | Heartbeat
    | Welcome
    | Start
    | Stop
    | Drain
    | NeighbourReplaced
    | EpochEntered
    | TellAgain
    | FilePart
    | FileHeard
    | Hold
    | GoOn
    | Regroup
)
Message = DataMessage | WorkerMessage | CoordinatorMessage
