"""What the run's machine hears. Every event carries its time, in seconds of one clock."""

from __future__ import annotations

from dataclasses import dataclass

from dni_async.wire.messages import FileKind, WorkerMessage

__all__ = [
    "ActorEnded",
    "Begun",
    "CheckpointDecided",
    "Closed",
    "Heard",
    "PartHeard",
    "Reached",
    "Refused",
    "RunEvent",
    "StopAsked",
    "Ticked",
    "WorkerExited",
    "WorkerStarted",
]


@dataclass(frozen=True, slots=True)
class Begun:
    """The coordinator listens, and nobody has been started yet."""

    at: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A message has come over the connection that is named peer; any but a FilePart."""

    at: float
    peer: str
    message: WorkerMessage


@dataclass(frozen=True, slots=True)
class PartHeard:
    """A FilePart of that stage has come; its bytes stay with who performs. size_bytes: of them."""

    at: float
    peer: str
    run_id: str
    stage: int
    kind: FileKind = "weights"
    batch_id: int = 0
    size_bytes: int = 0
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """What has come from peer is no message."""

    at: float
    peer: str
    why: str


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A worker's process runs, on this host."""

    at: float
    stage: int
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker's process of this host has ended.

    code: its exit code, or minus the signal that killed it, whose name is then in signal; "" where
    nobody has seen how it ended. log: the path of its log; said: the last line in there.
    """

    at: float
    stage: int
    pid: int
    code: int
    signal: str
    log: str
    said: str


@dataclass(frozen=True, slots=True)
class ActorEnded:
    """The actor of a cluster that was to run the stage's worker is gone, or its worker has ended.

    code: the worker's, or minus its signal; None where it was the actor that ended, for reason.
    """

    at: float
    stage: int
    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Reached:
    """A heartbeat has found the connection to peer broken, or made again."""

    at: float
    peer: str
    is_connected: bool


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Who watches the run asks for its end, for this reason."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class CheckpointDecided:
    """The checkpoint before batch_id lies on disk, whole and read back; or it was given up."""

    at: float
    batch_id: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Ticked:
    """All that had happened has been told, and time goes on; several times a second."""

    at: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The run is over, however it ended: those still there are to leave."""

    at: float


RunEvent = (
    Begun
    | Heard
    | PartHeard
    | Refused
    | WorkerStarted
    | WorkerExited
    | ActorEnded
    | Reached
    | StopAsked
    | CheckpointDecided
    | Ticked
    | Closed
)
