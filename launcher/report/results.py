"""What a finished run leaves behind: the rows of report.json as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

from dni_async.launcher.report.link_rows import LinkResult
from dni_async.wire.messages import BoundaryEpoch, Progress

__all__ = ["EpochResult", "RestartResult", "RunResult", "WorkerResult", "speedup"]


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch, or with evaluate_every all since the last test, under the last one's number.

    seconds: training alone. Losses in nats per label, accuracy in [0, 1].
    test_loss: of the test samples after the epoch, as the accuracy. num_samples: those that the
    whole network was trained on; num_test_labels: those that were scored, one a sample or one a
    position. Both leave out what was lost with a worker that died; a loss of nothing is -1.
    """

    epoch: int
    seconds: float
    train_loss: float
    test_accuracy: float
    test_loss: float
    num_samples: int
    num_test_labels: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """One worker. busy, waiting, sending: shares of the time from Start to its end, sum 1.

    max_staleness: most updates between a batch's forward and the use of its returned gradient.
    max_pending: most activations that were in flight above it at once. waiting_for_credits: the
    part of waiting in which a full window kept it from a batch that it had. train_ seconds leave
    evaluation out; those of cpu are of all its threads. occupancy: activations in flight at each
    sending, on average and as a share of the window; None where nothing is sent up. Bytes: sent
    over both its links. skipped, replayed: training batches learnt from and not sent up, and those
    learnt from once more. phases: seconds per update and kind of span, where they were recorded.
    """

    stage: int
    pid: int
    device: str
    layers: tuple[int, int]
    busy: float
    waiting: float
    sending: float
    updates: int
    max_staleness: int
    max_pending: int
    rss_bytes: int
    waiting_for_credits: float
    train_busy_seconds: float
    train_sending_seconds: float
    train_cpu_seconds: float
    occupancy: float | None
    staleness_median: int
    staleness_p99: int
    frame_bytes: int
    shared_bytes: int
    peak_rss_bytes: int
    skipped: int
    replayed: int
    phases: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_progress(
        cls, last: Progress, *, pid: int, device: str, layers: tuple[int, int]
    ) -> WorkerResult:
        """What a worker did, as it last told it."""
        total_s = max(last.busy_s + last.waiting_s + last.sending_s, 1e-9)
        return cls(
            stage=last.stage,
            pid=pid,
            device=device,
            layers=layers,
            busy=last.busy_s / total_s,
            waiting=last.waiting_s / total_s,
            sending=last.sending_s / total_s,
            updates=last.updates,
            max_staleness=last.max_staleness,
            max_pending=last.max_pending,
            rss_bytes=last.rss_bytes,
            waiting_for_credits=last.credit_waiting_s / total_s,
            train_busy_seconds=last.train_busy_s,
            train_sending_seconds=last.train_sending_s,
            train_cpu_seconds=last.train_cpu_s,
            occupancy=last.occupancy if last.occupancy >= 0 else None,
            staleness_median=last.staleness_median,
            staleness_p99=last.staleness_p99,
            frame_bytes=last.frame_bytes,
            shared_bytes=last.shared_bytes,
            peak_rss_bytes=last.peak_rss_bytes,
            skipped=last.skipped,
            replayed=last.replayed,
        )


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


@dataclass(slots=True)
class RunResult:
    """One trained network. num_threads: compute threads of all its processes together.

    Both counted from before the first process: startup_seconds to Start, first_update_seconds to
    the first update of the stage that made its first one last (decoupled runs alone).
    boundaries: of each epoch, by stage, those that compared gradients.
    """

    name: str
    kind: Literal["decoupled", "baseline"]
    rule: str
    num_workers: int
    num_threads: int
    num_train: int
    startup_seconds: float = 0.0
    first_update_seconds: float | None = None
    epochs: list[EpochResult] = field(default_factory=list)
    boundaries: list[BoundaryEpoch] = field(default_factory=list)
    workers: list[WorkerResult] = field(default_factory=list)
    restarts: list[RestartResult] = field(default_factory=list)
    links: list[LinkResult] = field(default_factory=list)

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
    def test_accuracy(self) -> float | None:
        """After the last epoch, in [0, 1]; None before the first has been evaluated."""
        return self.epochs[-1].test_accuracy if self.epochs else None

    @property
    def test_loss(self) -> float | None:
        """After the last epoch, in nats per label; None before the first has been evaluated."""
        return self.epochs[-1].test_loss if self.epochs else None

    def seconds_to(self, target_accuracy: float | None) -> float | None:
        """Training seconds up to the end of the first epoch that reaches the target.

        One of which test samples were lost does not count: a handful may be right by chance.
        """
        if target_accuracy is None:
            return None
        seconds = 0.0
        all_labels = max((epoch.num_test_labels or 0 for epoch in self.epochs), default=0)
        for epoch in self.epochs:
            seconds += epoch.seconds
            is_scored = epoch.num_test_labels in (None, all_labels)
            if is_scored and epoch.test_accuracy >= target_accuracy:
                return seconds
        return None

    def cosines(self, epoch: int) -> dict[int, float]:
        """By stage: how well synthetic and returned gradients agreed in the epoch that ended last.

        Looks no further back, as it is asked at the end of every one of many epochs.
        """
        last = takewhile(lambda told: told.epoch == epoch, reversed(self.boundaries))
        return {told.stage: told.cosine for told in last}

    def to_dict(self, target_accuracy: float | None) -> dict[str, Any]:
        """The run as report.json shows it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "rule": self.rule,
            "num_workers": self.num_workers,
            "num_threads": self.num_threads,
            "startup_seconds": round(self.startup_seconds, 4),
            "first_update_seconds": None
            if self.first_update_seconds is None
            else round(self.first_update_seconds, 4),
            "train_seconds": round(self.train_seconds, 4),
            "samples_per_second": round(self.samples_per_second, 1),
            "test_accuracy": self.test_accuracy,
            "test_loss": self.test_loss,
            "seconds_to_target": self.seconds_to(target_accuracy),
            "epochs": [
                {
                    "epoch": e.epoch,
                    "seconds": round(e.seconds, 4),
                    "train_loss": e.train_loss,
                    "test_accuracy": e.test_accuracy,
                    "test_loss": e.test_loss,
                    "num_samples": e.num_samples,
                    "num_test_labels": e.num_test_labels,
                }
                for e in self.epochs
            ],
            "restarts": [
                {
                    "stage": r.stage,
                    "cause": r.cause,
                    "at_seconds": round(r.at_seconds, 3),
                    "seconds": None if r.seconds is None else round(r.seconds, 3),
                }
                for r in self.restarts
            ],
            "boundaries": _boundary_rows(self.boundaries),
            "links": [link.to_dict() for link in self.links],
            "workers": [
                {
                    "stage": w.stage,
                    "pid": w.pid,
                    "device": w.device,
                    "layers": list(w.layers),
                    "busy": round(w.busy, 4),
                    "waiting": round(w.waiting, 4),
                    "sending": round(w.sending, 4),
                    "updates": w.updates,
                    "max_staleness": w.max_staleness,
                    "max_pending": w.max_pending,
                    "rss_bytes": w.rss_bytes,
                    "waiting_for_credits": round(w.waiting_for_credits, 4),
                    "train_busy_seconds": round(w.train_busy_seconds, 4),
                    "train_sending_seconds": round(w.train_sending_seconds, 4),
                    "train_cpu_seconds": round(w.train_cpu_seconds, 4),
                    "occupancy": None if w.occupancy is None else round(w.occupancy, 4),
                    "staleness_median": w.staleness_median,
                    "staleness_p99": w.staleness_p99,
                    "frame_bytes": w.frame_bytes,
                    "shared_bytes": w.shared_bytes,
                    "peak_rss_bytes": w.peak_rss_bytes,
                    "skipped": w.skipped,
                    "replayed": w.replayed,
                    "phases": {kind: round(s, 7) for kind, s in w.phases.items()},
                }
                for w in self.workers
            ],
        }


def _boundary_rows(told: Sequence[BoundaryEpoch]) -> list[dict[str, Any]]:
    """The boundaries by stage, each with its epochs in the order they were told."""
    return [
        {
            "stage": stage,
            "epochs": [
                {
                    "epoch": each.epoch,
                    "num_gradients": each.num_gradients,
                    "cosine": round(each.cosine, 6),
                    "relative_error": round(each.relative_error, 6),
                    "norm_ratio": round(each.norm_ratio, 6),
                    "staleness_median": each.staleness_median,
                    "staleness_max": each.staleness_max,
                }
                for each in told
                if each.stage == stage
            ],
        }
        for stage in sorted({each.stage for each in told})
    ]


def speedup(
    run: RunResult, one: RunResult | None, every: RunResult | None, target_accuracy: float | None
) -> dict[str, float | None]:
    """run's samples per second over each baseline's; times to target the other way round."""

    def rate(baseline: RunResult | None) -> float | None:
        if baseline is None or baseline.samples_per_second == 0:
            return None
        return round(run.samples_per_second / baseline.samples_per_second, 3)

    ours = run.seconds_to(target_accuracy)
    theirs = None if every is None else every.seconds_to(target_accuracy)
    to_target = round(theirs / ours, 3) if ours and theirs else None
    return {
        "vs_one_thread": rate(one),
        "vs_all_threads": rate(every),
        "time_to_target_vs_all_threads": to_target,
    }
