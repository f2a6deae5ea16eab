"""What the run's machine is told of a run before anything has happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dni_async.decisions.curve import updates_between_points
from dni_async.decisions.goal import LOSS, Goal, Mode
from dni_async.wire.points import MAX_POINTS

__all__ = ["RunTerms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTerms:
    """A run's plan as far as decisions need it; plain values, which a recording begins with.

    rule_forbids: why the rule lets no worker be replaced, as half a sentence; "" where it does.
    devices: what each stage computes on, and places: "local" or "remote", by stage. may_be_near:
    workers in the same place talk by what they share; else over tcp too. over_tcp: so do workers
    and launcher. actors: a cluster places the remote workers. num_threads: of a local worker;
    asked_threads: as the user asked for, 0 where not. cores: that all workers share, 0 where they
    are on several hosts. num_batches: of an epoch's training and of a
    test, None where that is not known. num_updates: of the run; log_every: as asked for, of them
    from one point of a curve to the next. saves: checkpoints were asked for. most_file_bytes: of
    one file of a worker that has joined. num_test: how many samples a whole test has, None where
    that is not known. metric, mode, target, ends_early, patience: the run's Goal. last_epoch: the
    last one that a resumed run has behind it, 0 without; best, best_epoch: its best test until
    then. is_resumed: its stages have made updates before. logs: the folder of the logs, as the user
    is told of it. layers: of each stage at first, half-open. moves: batch ids, and the layers that
    stages are to hold from there on. layer_costs, may_end: see LayerWork, where layers are to move
    by themselves; else empty. checkpoints: the folder that they lie in.
    """

    run_id: str
    rule: str
    rule_forbids: str = ""
    devices: Sequence[str]
    places: Sequence[str]
    may_be_near: bool = True
    over_tcp: bool = False
    actors: bool = False
    num_threads: int = 1
    asked_threads: int = 0
    cores: int = 0
    epochs: int
    evaluate_every: int = 1
    num_batches: Sequence[int] | None = None
    num_updates: int = 2**53
    log_every: int | None = 1
    saves: bool = True
    most_file_bytes: int = 2**36
    num_test: int | None
    metric: str = LOSS
    mode: Mode = "min"
    target: float | None = None
    ends_early: bool = False
    patience: int | None = None
    last_epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    is_resumed: bool = False
    max_restarts: int
    start_timeout_s: float
    join_timeout_s: float
    silent_after_s: float
    stuck_after_s: float
    logs: str
    layers: Sequence[Sequence[int]] = ()
    moves: Sequence[tuple[int, Sequence[Sequence[int]]]] = ()
    layer_costs: Sequence[float] = ()
    may_end: Sequence[bool] = ()
    checkpoints: str = ""

    @property
    def num_stages(self) -> int:
        """One worker each."""
        return len(self.devices)

    @property
    def goal(self) -> Goal:
        """What the run is judged by."""
        return Goal(self.metric, self.mode, self.target, self.ends_early, self.patience)

    @property
    def most_points(self) -> int:
        """Of a stage's curve, that one worker tells of, those that it tells again among them."""
        every = updates_between_points(self.log_every, self.num_updates)
        return 2 * MAX_POINTS + (self.num_updates // every if every else 0)

    def is_remote(self, stage: int) -> bool:
        """Whether the stage's worker joins from elsewhere."""
        return self.places[stage] == "remote"

    def tested_at(self, epoch: int) -> int:
        """The end of which epoch the network is tested at next, when this one is trained."""
        return min(self.epochs, -(-epoch // self.evaluate_every) * self.evaluate_every)

    def next_tested(self, epoch: int) -> int | None:
        """The epoch at whose end the network is tested next behind that one; None behind all."""
        return self.tested_at(epoch + 1) if epoch < self.epochs else None

    def first_behind(self, epoch: int) -> int:
        """The id of the batch behind an epoch's training; 0 where that is not known."""
        if self.num_batches is None:
            return 0
        train, test = self.num_batches
        return (epoch - 1) * (train + test) + train

    def join_s(self, stage: int) -> float:
        """How long it may take until somebody joins for stage."""
        return self.join_timeout_s if self.is_remote(stage) else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)
