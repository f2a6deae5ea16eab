"""The messages from the coordinator to workers; ``messages`` has all that there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dni_async.wire.control import FileKind
from dni_async.wire.text import Exact, Words

__all__ = [
    "Assigned",
    "Drain",
    "EpochEntered",
    "FileHeard",
    "GoOn",
    "Heartbeat",
    "Hold",
    "NeighbourReplaced",
    "Regroup",
    "Scalar",
    "Side",
    "Start",
    "Stop",
    "TellAgain",
    "Welcome",
]

Side = Literal["above", "below"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Assigned:
    """Who has joined is to host this stage of this run: say Hello, with this ticket."""

    run_id: str
    stage: int
    incarnation: int
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The coordinator is there; sent to everybody who has joined."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """All workers said Hello: the run, this stage's part of it, and the neighbour above.

    first_layer, end_layer: the half-open range of layers that the stage holds. peer: endpoint of
    the stage above's inbox, empty for the head; peer_key: what it knows that inbox by, as in Hello.
    input_shape: of one sample. holds_ids: samples are
    int64 ids, not float32. num_classes, target_shape, target_dtype, has_ignored: of the targets, as
    config.target_form has them; output_shape: of outputs; both shapes are of a batch of one.
    num_updates: batches that the whole run trains on; num_test_batches: of each test. config:
    RunConfig. profile_folder, events_folder: where profiles and events are left, empty where not
    asked for. checkpoint_folder: where checkpoints are made. next_batch_id: where a replaced source
    goes on, unless the stage above has come further. shard: the file of a checkpoint that the stage
    starts from, or the folder of one that other stages have made; empty when it starts from the
    seed. Paths are the launcher's: who has joined from elsewhere has a folder of its own, and sends
    its files, whatever they say.
    """

    run_id: str
    num_stages: int
    first_layer: int
    end_layer: int
    device: str
    num_threads: int
    peer: str
    weights_path: Exact
    input_shape: tuple[int, ...]
    holds_ids: bool
    num_classes: int
    num_updates: int
    config: dict[str, Scalar | list[str]] = field(default_factory=dict)
    profile_folder: Exact = ""
    events_folder: Exact = ""
    checkpoint_folder: Exact = ""
    next_batch_id: int = 0
    shard: Exact = ""
    target_shape: tuple[int, ...] = (1,)
    target_dtype: str = "int64"
    has_ignored: bool = False
    output_shape: tuple[int, ...] = (1,)
    num_test_batches: int = 0
    peer_key: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """All workers are ready: begin."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Drain:
    """To the source: take up no more training batches; finish what is under way and end well."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Hold:
    """To the source: pause the line before the first training batch from batch_id on.

    is_over: nobody waits for that, but a source before it may have begun to.
    """

    run_id: str
    number: int
    batch_id: int
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class GoOn:
    """To the source: the pause with that number is over, or is not needed."""

    run_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Regroup:
    """While the line stands still: hold the layers from first_layer up to, not including, end_layer
    from now on, as they are in that checkpoint, and say Regrouped.
    """

    run_id: str
    number: int
    first_layer: int
    end_layer: int
    checkpoint: Exact


@dataclass(frozen=True, slots=True)
class NeighbourReplaced:
    """The worker on that side has died; its successor is that incarnation of its stage.

    above: connect to endpoint, its inbox, which is known by key, as in Hello. below: open a new
    inbox, and answer InboxMoved; both are empty.
    """

    run_id: str
    side: Side
    incarnation: int
    endpoint: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class FileHeard:
    """The last part of a file, any but a shard, has come: it lies in the run directory, or cannot
    be written there. again: it came with something missing, send all of it once more.
    """

    run_id: str
    kind: FileKind
    batch_id: int
    again: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Leave now, without draining. again: who has joined from elsewhere may join once more."""

    run_id: str
    reason: Words
    again: bool = False


@dataclass(frozen=True, slots=True)
class EpochEntered:
    """All that is told of epochs up to this one is known: nobody needs to keep it any longer."""

    run_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class TellAgain:
    """Something of this epoch was not heard: tell it, or if it is not known here, that there is
    nothing to tell.
    """

    run_id: str
    epoch: int
