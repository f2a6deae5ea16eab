"""The messages from a worker to the coordinator; ``messages`` has all that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dni_async.wire.counters import Counters
from dni_async.wire.points import Point
from dni_async.wire.text import Words

__all__ = [
    "MAX_FIGURES",
    "MAX_NAME",
    "MAX_PART_BYTES",
    "Alive",
    "BoundaryEpoch",
    "Bye",
    "EndReached",
    "EpochLoss",
    "EpochTrained",
    "Evaluated",
    "Failed",
    "FileKind",
    "FilePart",
    "FileWanted",
    "Hello",
    "InboxMoved",
    "Join",
    "Paused",
    "Progress",
    "Ready",
    "Regrouped",
    "Saved",
]

MAX_PART_BYTES = 48 * 1024  # of a file, in one message
MAX_FIGURES = 32  # of a test
MAX_NAME = 64  # of one of them, in characters

FileKind = Literal["weights", "shard", "profile", "torch-profile", "events"]


@dataclass(frozen=True, slots=True)
class Join:
    """Somebody on any host offers to be a worker.

    stage: the only one it would host, or with is_for_any the one that it would rather have than any
    other. machine: those of one computer name the
    same one, and share its num_cores. num_threads: it asks for so many, 0 for a fair share.
    token: this process's own; pids of containers may be the same.
    """

    protocol: int
    pid: int
    host: str
    machine: str
    num_cores: int
    num_threads: int
    device: str
    stage: int
    is_for_any: bool
    token: str


@dataclass(frozen=True, slots=True)
class Alive:
    """Answer to Heartbeat of who has joined and hosts no stage yet."""

    pid: int


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker has bound its inbox (endpoint, empty for the source) and takes its stage.

    incarnation: how many workers have hosted the stage before. place: who is in the same one can
    also connect to near, where memory is shared; both empty where nothing is gained by that. key:
    the inbox's public key, made for it alone; empty where only this user can connect. ticket:
    as the launcher gave it to the process of this incarnation, or in Assigned.
    """

    protocol: int
    run_id: str
    stage: int
    pid: int
    host: str
    endpoint: str
    incarnation: int = 0
    place: str = ""
    near: str = ""
    key: str = ""
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has built its stage and both its links are up."""

    run_id: str
    stage: int


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker has counted so far, sent about twice a second.

    points: at most MAX_POINTS, those of its curves that came since the last one was sent.
    longest_s: the longest that what the worker is at now has taken lately; negative where that says
    nothing: it is done for the first time, or a disk decides.
    """

    run_id: str
    stage: int
    counters: Counters
    points: tuple[Point, ...] = ()
    longest_s: float = -1.0

    def to_dict(self) -> dict[str, int | float | str | None]:
        """Flat, as in metrics.jsonl; the points have lines of their own."""
        return {"run_id": self.run_id, "stage": self.stage, **self.counters.to_dict()}


@dataclass(frozen=True, slots=True)
class EpochTrained:
    """From the source: an epoch's training has ended everywhere, after `seconds`.

    They begin with its first batch; where the line is not drained, with the end of the training
    before it, and hold the test in between. again: its predecessor timed that, and told a neighbour
    of it.
    """

    run_id: str
    epoch: int
    seconds: float
    again: bool = False


@dataclass(frozen=True, slots=True)
class EpochLoss:
    """From the head: mean training loss of the epoch over the samples that came all the way up.

    tested_s: see BoundaryEpoch.
    """

    run_id: str
    epoch: int
    loss: float
    num_samples: int
    tested_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BoundaryEpoch:
    """From every stage below the head: what its boundary learnt of in an epoch that has ended.

    Until the marker behind its training batches was back, so where the line is not drained from
    the first batches of the next epoch as well.

    cosine, relative_error, norm_ratio: of synthetic and returned gradients, means over the
    num_gradients that were compared (agreement.Agreement); all 0 where none was. The staleness of
    half of the gradients that were learnt from is not above staleness_median, of none above
    staleness_max. corrected: the share of those compared with which the boundary added what true
    gradients had taught it. tested_s: processor seconds that the stage has spent on test batches
    since it told of the epoch before; 0 where the line is drained, as nobody trains then.
    """

    run_id: str
    stage: int
    epoch: int
    num_gradients: int
    cosine: float
    relative_error: float
    norm_ratio: float
    staleness_median: int
    staleness_max: int
    corrected: float = 0.0
    tested_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Evaluated:
    """From the head: the test samples have passed, num_samples of them, with this loss.

    metrics: at most MAX_FIGURES, by names of at most MAX_NAME characters. What a replaced stage
    lost is not among them; of no sample there is no metric, and the loss is NaN.
    """

    run_id: str
    epoch: int
    loss: float
    metrics: dict[str, float]
    num_samples: int


@dataclass(frozen=True, slots=True)
class EndReached:
    """From the source: nothing is left but the end, and epoch is the last one that was tested.

    It waits for EpochEntered of that, so that nobody leaves while a word of it may be lost.
    """

    run_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class InboxMoved:
    """Answer to NeighbourReplaced on the side below: where that incarnation is to connect.

    key: as in Hello, of the new inbox.
    """

    run_id: str
    stage: int
    incarnation: int
    endpoint: str
    near: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class FileWanted:
    """The worker has joined from elsewhere: send it the shard that Welcome named."""

    run_id: str
    stage: int


@dataclass(frozen=True, slots=True)
class FilePart:
    """The next bytes of a file, in order: of what a stage starts from to a worker, else from one.

    Only where the worker has joined from elsewhere. batch_id: of the checkpoint that a shard is
    part of, else 0. offset: where in the file the bytes lie; 0 begins it, perhaps anew. sha256:
    with the last part, of the whole file, in hexadecimal; else empty.
    """

    run_id: str
    stage: int
    kind: FileKind
    batch_id: int
    data: bytes
    is_last: bool
    offset: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """The stage's part of the checkpoint before batch_id is on disk, so many bytes with that
    sha256 (hexadecimal); or it is not, and reason says why (else empty). It holds the layers from
    first_layer up to, not including, end_layer.
    """

    run_id: str
    stage: int
    batch_id: int
    epoch: int
    index: int
    size_bytes: int
    sha256: str
    reason: Words
    first_layer: int = 0
    end_layer: int = 1


@dataclass(frozen=True, slots=True)
class Paused:
    """From the source: the line stands still as Hold number asked, before batch_id.

    epoch: that batch's; 0 where only the end is left, and nothing was saved.
    """

    run_id: str
    number: int
    epoch: int
    batch_id: int


@dataclass(frozen=True, slots=True)
class Regrouped:
    """The stage holds the layers that Regroup number named, as they were saved."""

    run_id: str
    stage: int
    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Last words of a worker that cannot go on; traceback is text for people, empty where summary
    says it all.
    """

    run_id: str
    stage: int
    device: str
    summary: Words
    traceback: Words


@dataclass(frozen=True, slots=True)
class Bye:
    """The worker has drained, saved its weights where Welcome said, and is about to exit 0."""

    run_id: str
    stage: int
