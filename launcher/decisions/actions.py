"""What the run's machine answers: who is started, told and killed, what is shown and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dni_async.launcher.decisions.epochs import WholeEpoch
from dni_async.wire.messages import CoordinatorMessage, Progress, Saved

__all__ = [
    "AskStack",
    "EndActor",
    "EndRun",
    "Ending",
    "EnterBrought",
    "EnterDeath",
    "EnterEpoch",
    "EnterFirstUpdates",
    "EnterMove",
    "EnterMoved",
    "EnterProgress",
    "EnterRecovery",
    "EnterStart",
    "EnterStop",
    "EnterWorker",
    "KeepPart",
    "KeepSaved",
    "KillStuck",
    "Note",
    "RunAction",
    "Send",
    "SendShard",
    "SendWelcome",
    "StartActor",
    "StartWorker",
]

Ending = Literal["done", "nobody joined", "worker died"]


# --- workers -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a process of this host for the stage."""

    stage: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class StartActor:
    """Have an actor of the cluster run a worker that joins for the stage."""

    stage: int


@dataclass(frozen=True, slots=True)
class EndActor:
    """Nothing is heard of the stage's worker any more: its actor goes with it."""

    stage: int


@dataclass(frozen=True, slots=True)
class AskStack:
    """Have the process of this host write down where it stands."""

    stage: int
    pid: int


@dataclass(frozen=True, slots=True)
class KillStuck:
    """Show text, and where the process of this host stands; then kill it."""

    stage: int
    pid: int
    text: str


# --- words -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send message over the connection that is named peer, if it is still there."""

    peer: str
    message: CoordinatorMessage


@dataclass(frozen=True, slots=True)
class SendWelcome:
    """Tell the stage's worker its part of the run.

    layers: half-open. above, above_key: the inbox that it sends to, if any, and what that is known
    by.
    """

    peer: str
    stage: int
    above: str
    device: str
    num_threads: int
    next_batch_id: int
    layers: tuple[int, int]
    above_key: str = ""


@dataclass(frozen=True, slots=True)
class SendShard:
    """Send the stage's worker the file that it starts from, a few parts at a time."""

    peer: str
    stage: int


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the user."""

    text: str


# --- what is kept ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeepPart:
    """Write the part of a file that was heard last; it is of the stage's worker of incarnation."""

    incarnation: int


@dataclass(frozen=True, slots=True)
class KeepSaved:
    """A stage has told of its part of a checkpoint."""

    saved: Saved


@dataclass(frozen=True, slots=True)
class EnterStart:
    """All workers have begun. pids: by stage."""

    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EnterProgress:
    """What a worker has counted so far."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class EnterFirstUpdates:
    """Every stage has made an update."""


@dataclass(frozen=True, slots=True)
class EnterEpoch:
    """All has been told of an epoch that will be told of it."""

    epoch: WholeEpoch


@dataclass(frozen=True, slots=True)
class EnterDeath:
    """A worker has died, so long after the start, and is replaced."""

    stage: int
    cause: str
    at_s: float


@dataclass(frozen=True, slots=True)
class EnterRecovery:
    """A stage trains again, so long after the start."""

    stage: int
    at_s: float


@dataclass(frozen=True, slots=True)
class EnterMove:
    """From now on stages hold these layers, half-open.

    at_s: since Start. before_s, foretold_s: seconds that the slowest stage takes for a batch, and
    should take then; 0 where nobody foretold any.
    """

    layers: tuple[tuple[int, int], ...]
    at_s: float
    before_s: float = 0.0
    foretold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EnterMoved:
    """All stages hold the layers of the last move; the line stood still for so long."""

    stood_still_s: float


@dataclass(frozen=True, slots=True)
class EnterBrought:
    """What the last move has brought: seconds that the slowest stage takes for a batch now."""

    seconds: float


@dataclass(frozen=True, slots=True)
class EnterStop:
    """The run ends before its last epoch, as somebody asked, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class EnterWorker:
    """Which process a stage's last Progress was of, and what it computed on."""

    stage: int
    pid: int
    device: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """The run is over. why, exit_code: "" and 0 where it is done."""

    ending: Ending
    why: str = ""
    exit_code: int = 0


RunAction = (
    StartWorker
    | StartActor
    | EndActor
    | AskStack
    | KillStuck
    | Send
    | SendWelcome
    | SendShard
    | Note
    | KeepPart
    | KeepSaved
    | EnterStart
    | EnterProgress
    | EnterFirstUpdates
    | EnterEpoch
    | EnterDeath
    | EnterRecovery
    | EnterMove
    | EnterMoved
    | EnterBrought
    | EnterStop
    | EnterWorker
    | EndRun
)
