"""What a finished run leaves behind: the rows of report.json as values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from typing import Any, Literal

from dni_async.decisions.goal import Goal, Outlook
from dni_async.launcher.report.curves import Told
from dni_async.launcher.report.worker_results import LinkResult, WorkerResult, rounded
from dni_async.wire.messages import BoundaryEpoch

__all__ = [
    "EpochResult",
    "MoveResult",
    "RestartResult",
    "RunResult",
    "StopResult",
    "boundaries_by_stage",
]

# Digits in report.json.
_OF_EPOCHS = {"seconds": 4, "test_seconds": 4}
_OF_MOVES = {
    "at_seconds": 3,
    "stood_still_seconds": 3,
    "before_seconds": 6,
    "foretold_seconds": 6,
    "brought_seconds": 6,
}
_OF_RESTARTS = {"at_seconds": 3, "seconds": 3}
_OF_BOUNDARIES = {"cosine": 6, "relative_error": 6, "norm_ratio": 6, "corrected": 6}
_NOT_OF_BOUNDARIES = ("run_id", "stage", "tested_s")


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch, or with evaluate_every all since the last test, under the last one's number.

    seconds: training alone; test_seconds: what was left out of them for a test that ran while
    stages trained (decisions.epochs.seconds_of_test). test_loss, test_metrics: of the samples after
    the epoch, by name. num_samples: those that the whole network was trained on; num_tested: the
    test samples that were measured. Both leave out what was lost with a worker that died; a loss of
    nothing is None, and there is no metric of it.
    """

    epoch: int
    seconds: float
    train_loss: float | None
    test_loss: float | None
    test_metrics: dict[str, float]
    num_samples: int
    num_tested: int | None = None
    test_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The epoch as report.json shows it."""
        return rounded(self, _OF_EPOCHS)


@dataclass(slots=True)
class RestartResult:
    """One worker that was replaced, because of cause.

    at_seconds: from Start to its death. seconds: from there to the next update of its stage; None
    if there was none.
    """

    stage: int
    cause: str
    at_seconds: float
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The restart as report.json shows it."""
        return rounded(self, _OF_RESTARTS)


@dataclass(slots=True)
class MoveResult:
    """One move of layers, before and after it: how many each stage holds.

    at_seconds: from Start to when that was so. stood_still_seconds: of the line; None where the run
    ended before it went on. before_seconds, foretold_seconds, brought_seconds: what the slowest
    stage took for a batch, should take, and took; None where nobody foretold or measured it.
    """

    before: list[int]
    after: list[int]
    at_seconds: float
    before_seconds: float | None = None
    foretold_seconds: float | None = None
    stood_still_seconds: float | None = None
    brought_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The move as report.json shows it."""
        return rounded(self, _OF_MOVES)


@dataclass(slots=True)
class StopResult:
    """A run that was asked to end before its last epoch, for reason.

    test_loss, test_metrics: of the network as it came back, which a few updates, or part of an
    epoch, may have changed since its last test; None and empty of a baseline, or where nothing was
    tested.
    """

    reason: str
    test_loss: float | None = None
    test_metrics: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class RunResult:
    """One trained network. num_threads: compute threads of all its processes together.

    Both counted from before the first process: startup_seconds to Start, first_update_seconds to
    the first update of the stage that made its first one last (decoupled runs alone). is_lockstep:
    by its rule one batch at a time was in the whole line. others_cores: kept busy, on average while
    it trained, by what is not of this run; None where that is not known. waiting: how those of a
    baseline's threads wait that have nothing to do; None where there is but one, and of workers.
    goal: the chosen metric, and what is to become of it. boundaries: of each epoch, by stage, those
    that compared gradients. stop_asked: a reason in here asks for the run's end; whoever watches
    may write it, from any thread, and whoever trains takes it out. stopped: what came of it.
    told: of a resumed run, its curves before; what goes on is not kept here: it may be much.
    layers: that its stages hold now, half-open; none of a baseline. began_at: the id of the batch
    with which it began, or was resumed. best_checkpoint: with keep_best, which one holds the
    network that was tested best; see run_folder.best.
    """

    name: str
    kind: Literal["decoupled", "baseline"]
    rule: str
    num_workers: int
    num_threads: int
    startup_seconds: float = 0.0
    first_update_seconds: float | None = None
    is_lockstep: bool = False
    others_cores: float | None = None
    waiting: Literal["spin", "sleep"] | None = None
    goal: Goal = field(default_factory=Goal)
    epochs: list[EpochResult] = field(default_factory=list)
    boundaries: list[BoundaryEpoch] = field(default_factory=list)
    workers: list[WorkerResult] = field(default_factory=list)
    restarts: list[RestartResult] = field(default_factory=list)
    moves: list[MoveResult] = field(default_factory=list)
    links: list[LinkResult] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    layers: list[tuple[int, int]] = field(default_factory=list)
    began_at: int = 0
    best_checkpoint: dict[str, Any] | None = None
    stop_asked: str | None = None
    stopped: StopResult | None = None

    def take_stop(self) -> str | None:
        """Why the run is asked to end, told once; None where it is not."""
        reason, self.stop_asked = self.stop_asked, None
        return reason

    def move(
        self,
        layers: Sequence[tuple[int, int]],
        at_seconds: float,
        before_seconds: float,
        foretold_seconds: float,
    ) -> None:
        """From now on stages hold these layers; seconds: see MoveResult, 0 for none."""
        before, after = ([end - first for first, end in each] for each in (self.layers, layers))
        foretold = before_seconds or None, foretold_seconds or None
        self.moves.append(MoveResult(before, after, at_seconds, *foretold))
        self.layers = list(layers)

    @property
    def train_seconds(self) -> float:
        """Training alone: no start-up, no evaluation."""
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def samples_per_second(self) -> float:
        """Samples that the whole network was trained on, over training time."""
        seconds = self.train_seconds
        return sum(epoch.num_samples for epoch in self.epochs) / seconds if seconds > 0 else 0.0

    @property
    def test_metrics(self) -> dict[str, float]:
        """After the last epoch, by name; none before the first has been tested."""
        return self.epochs[-1].test_metrics if self.epochs else {}

    @property
    def test_loss(self) -> float | None:
        """After the last epoch; None before the first has been tested."""
        return self.epochs[-1].test_loss if self.epochs else None

    def figure(self, epoch: EpochResult) -> float | None:
        """The chosen metric of an epoch; None where nothing was tested."""
        return self.goal.figure(epoch.test_loss, epoch.test_metrics)

    def outlook(self) -> Outlook:
        """The best test so far, and when it was.

        One of which test samples were lost does not count: a handful may be right by chance.
        """
        outlook = Outlook(self.goal)
        for epoch, figure in self._whole_figures():
            outlook.hear(epoch.epoch, figure)
        return outlook

    def whole_figure(self, epoch: int) -> float | None:
        """The chosen metric of the test after epoch; None where test samples were lost."""
        return next((told for each, told in self._whole_figures() if each.epoch == epoch), None)

    def seconds_to(self, target: float | None) -> float | None:
        """Training seconds up to the end of the first epoch that reaches the target.

        None where there is no target or no epoch that does; see outlook.
        """
        goal = replace(self.goal, target=target)
        seconds = 0.0
        for epoch, figure in self._whole_figures():
            seconds += epoch.seconds
            if figure is not None and goal.is_reached(figure):
                return seconds
        return None

    def _whole_figures(self) -> Iterator[tuple[EpochResult, float | None]]:
        """The epochs, the chosen metric of each; None where nothing or not all was tested."""
        whole = max((epoch.num_tested or 0 for epoch in self.epochs), default=0)
        for epoch in self.epochs:
            yield epoch, self.figure(epoch) if epoch.num_tested in (None, whole) else None

    def cosines(self, epoch: int) -> dict[int, float]:
        """By stage: how well synthetic and returned gradients agreed in the epoch that ended last.

        Looks no further back, as it is asked at the end of every one of many epochs.
        """
        last = takewhile(lambda told: told.epoch == epoch, reversed(self.boundaries))
        return {told.stage: told.cosine for told in last}

    def to_dict(self) -> dict[str, Any]:
        """The run as report.json shows it."""
        first, outlook, others = self.first_update_seconds, self.outlook(), self.others_cores
        return {
            "name": self.name,
            "kind": self.kind,
            "rule": self.rule,
            "is_lockstep": self.is_lockstep,
            "num_workers": self.num_workers,
            "num_threads": self.num_threads,
            "startup_seconds": round(self.startup_seconds, 4),
            "first_update_seconds": None if first is None else round(first, 4),
            "train_seconds": round(self.train_seconds, 4),
            "samples_per_second": round(self.samples_per_second, 1),
            "others_cores": None if others is None else round(others, 2),
            "waiting": self.waiting,
            "test_loss": self.test_loss,
            "test_metrics": self.test_metrics,
            "metric": self.goal.metric,
            "mode": self.goal.mode,
            "best": outlook.best,
            "best_epoch": outlook.best_epoch,
            "best_checkpoint": self.best_checkpoint,
            "seconds_to_target": self.seconds_to(self.goal.target),
            "stopped": None if self.stopped is None else asdict(self.stopped),
            "epochs": [epoch.to_dict() for epoch in self.epochs],
            "restarts": [each.to_dict() for each in self.restarts],
            "moves": [each.to_dict() for each in self.moves],
            "boundaries": boundaries_by_stage(self.boundaries),
            "links": [link.to_dict() for link in self.links],
            "workers": [worker.to_dict() for worker in self.workers],
        }


def boundaries_by_stage(told: Sequence[BoundaryEpoch]) -> list[dict[str, Any]]:
    """The boundaries as report.json has them, each with its epochs in the order they were told."""
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for each in told:
        row = rounded(each, _OF_BOUNDARIES)
        rows[each.stage].append({name: row[name] for name in row if name not in _NOT_OF_BOUNDARIES})
    return [{"stage": stage, "epochs": epochs} for stage, epochs in sorted(rows.items())]
