"""What a worker counts while it runs: every figure, its unit and where it is shown, said once.

The message ``Progress`` carries these values; metrics.jsonl, report.json, the table of workers,
Prometheus and Ray show them by FIGURES. A new figure is one field here, and one value where it is
measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, Literal, get_type_hints

__all__ = [
    "FIGURES",
    "Counters",
    "Figure",
    "LinkAbove",
    "Memory",
    "Shown",
    "StaleGradients",
    "Times",
    "Traffic",
    "WindowUse",
    "Work",
]

# "part": seconds that report.json shows as a share of all since Start.
Unit = Literal["count", "s", "part", "share", "bytes", "loss", "text"]
_DIGITS: Final = {"s": 4, "part": 4, "share": 4}  # in report.json; others are written as they are
_NONE: Final = -1.0  # the default of what there may be none of


@dataclass(frozen=True, slots=True)
class Shown:
    """How a figure is shown. says: what it is, which is also the help of Prometheus and Ray.

    report: its key in the workers of report.json. metric: its name behind ``dni_stage_`` for
    Prometheus. column: its heading in the table of workers. All three are empty where it is not
    shown. is_total: it only grows, until the worker is replaced.
    """

    unit: Unit
    says: str
    report: str = ""
    metric: str = ""
    column: str = ""
    is_total: bool = False


# fmt: off
@dataclass(frozen=True, slots=True)
class Times:
    """Where the time since Start went; busy_s + waiting_s + sending_s is all of it."""

    busy_s: Annotated[float, Shown(
        "part", "Seconds spent computing.",
        "busy", "busy_seconds", "busy", is_total=True)] = 0.0
    waiting_s: Annotated[float, Shown(
        "part", "Seconds spent waiting in poll.",
        "waiting", "waiting_seconds", "wait", is_total=True)] = 0.0
    sending_s: Annotated[float, Shown(
        "part", "Seconds spent placing and queueing tensors.",
        "sending", "sending_seconds", "send", is_total=True)] = 0.0
    credit_waiting_s: Annotated[float, Shown(
        "part", "Seconds of the waiting in which only a full window held the next batch back.",
        "waiting_for_credits", "credit_waiting_seconds", is_total=True)] = 0.0
    data_waiting_s: Annotated[float, Shown(
        "part", "Seconds of the waiting in which the source had not been given its next batch yet.",
        "waiting_for_data", "data_waiting_seconds", is_total=True)] = 0.0
    train_busy_s: Annotated[float, Shown(
        "s", "Seconds spent computing, evaluation left out.",
        "train_busy_seconds", is_total=True)] = 0.0
    train_sending_s: Annotated[float, Shown(
        "s", "Seconds spent placing and queueing tensors, evaluation left out.",
        "train_sending_seconds", is_total=True)] = 0.0
    train_cpu_s: Annotated[float, Shown(
        "s", "Processor time of all the worker's threads, evaluation left out.",
        "train_cpu_seconds", is_total=True)] = 0.0

    @property
    def total_s(self) -> float:
        """Seconds since Start."""
        return self.busy_s + self.waiting_s + self.sending_s


@dataclass(frozen=True, slots=True)
class Work:
    """How far the stage has come."""

    updates: Annotated[int, Shown(
        "count", "Updates made.", "updates", "updates", "updates", is_total=True)] = 0
    skipped: Annotated[int, Shown(
        "count", "Training batches learnt from and not sent up.",
        "skipped", "skipped_batches", is_total=True)] = 0
    replayed: Annotated[int, Shown(
        "count", "Training batches learnt from once more.",
        "replayed", "replayed_batches", is_total=True)] = 0
    next_batch_id: Annotated[int, Shown(
        "count", "One past the last batch that the stage received, or the source drew.")] = 0
    epoch: Annotated[int, Shown(
        "count", "Epoch: at the source the one that goes on, else the last.", metric="epoch")] = 0
    epoch_s: Annotated[float, Shown(
        "s", "The source's seconds since it began or took over the training of its epoch.")] = 0.0
    loss: Annotated[float, Shown(
        "loss", "The head's mean training loss of the epoch that goes on.",
        metric="loss")] = math.nan


@dataclass(frozen=True, slots=True)
class StaleGradients:
    """How stale returned gradients were when they were used."""

    max_staleness: Annotated[int, Shown(
        "count", "Largest staleness of a returned gradient.",
        "max_staleness", "staleness_max", "stale")] = 0
    staleness_median: Annotated[int, Shown(
        "count", "Half of them are not staler.", "staleness_median", "staleness_median")] = 0
    staleness_p99: Annotated[int, Shown(
        "count", "99 % of them are not staler.", "staleness_p99", "staleness_p99")] = 0


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How full the window of the link above was."""

    max_pending: Annotated[int, Shown(
        "count", "Most activations in flight in the outbox at once.",
        "max_pending", "pending_max", "pend")] = 0
    occupancy: Annotated[float, Shown(
        "share", "Activations in flight at each sending, on average, as a share of the window.",
        "occupancy", "window_occupancy")] = _NONE


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was sent over both links."""

    frame_bytes: Annotated[int, Shown(
        "bytes", "Bytes sent in frames, over both links.",
        "frame_bytes", "frame_bytes", is_total=True)] = 0
    shared_bytes: Annotated[int, Shown(
        "bytes", "Bytes sent in shared memory, over both links.",
        "shared_bytes", "shared_bytes", is_total=True)] = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What the process occupies."""

    rss_bytes: Annotated[int, Shown(
        "bytes", "Resident memory.", "rss_bytes", "resident_bytes", "MB")] = 0
    peak_rss_bytes: Annotated[int, Shown(
        "bytes", "Most resident memory there was.", "peak_rss_bytes", "peak_resident_bytes")] = 0


@dataclass(frozen=True, slots=True)
class LinkAbove:
    """The link above as its lower end saw it; nothing where there is none."""

    activations: Annotated[int, Shown("count", "Activations sent up.", is_total=True)] = 0
    up_bytes: Annotated[int, Shown("bytes", "Bytes sent up.", is_total=True)] = 0
    down_bytes: Annotated[int, Shown("bytes", "Bytes that came down.", is_total=True)] = 0
    in_flight_s: Annotated[float, Shown(
        "s", "Seconds in which an activation was in flight.", is_total=True)] = 0.0
    credit_s: Annotated[float, Shown(
        "s", "Median of the last 1,024 times from sending one to its place being free.")] = _NONE
    least_credit_s: Annotated[float, Shown("s", "The least of all such times.")] = _NONE
    carrier: Annotated[str, Shown("text", "What large tensors travel by.")] = ""
    window: Annotated[int, Shown("count", "How wide the window is.")] = 0
    in_flight: Annotated[int, Shown("count", "Activations in flight now.")] = 0
# fmt: on


@dataclass(frozen=True, slots=True)
class Counters:
    """All that a worker counts, since Start where nothing else is said."""

    times: Times = Times()
    work: Work = Work()
    staleness: StaleGradients = StaleGradients()
    window: WindowUse = WindowUse()
    traffic: Traffic = Traffic()
    memory: Memory = Memory()
    link: LinkAbove = LinkAbove()

    def to_dict(self) -> dict[str, int | float | str | None]:
        """Every value under the name of its figure, as in metrics.jsonl."""
        return {each.name: each.written(self) for each in FIGURES}


@dataclass(frozen=True, slots=True)
class Figure:
    """One field of Counters. name: in metrics.jsonl and among Ray's metrics.

    group, key: where its value is. may_lack: a negative value says that there is none; of a loss,
    which may be negative, NaN does.
    """

    name: str
    group: str
    key: str
    shown: Shown
    may_lack: bool

    def raw(self, counters: Counters) -> Any:
        """Its value as it was told."""
        return getattr(getattr(counters, self.group), self.key)

    def of(self, counters: Counters) -> Any:
        """Its value, or None where there is none."""
        value = self.raw(counters)
        if not self.may_lack:
            return value
        is_there = not math.isnan(value) if self.shown.unit == "loss" else value >= 0
        return value if is_there else None

    def written(self, counters: Counters) -> Any:
        """Its value as metrics.jsonl has it; a loss that there is not is no number of JSON."""
        return self.of(counters) if self.shown.unit == "loss" else self.raw(counters)

    def reported(self, counters: Counters) -> Any:
        """Its value as in report.json, or None where there is none."""
        value = self.of(counters)
        if self.shown.unit == "part":
            value /= max(counters.times.total_s, 1e-9)
        digits = _DIGITS.get(self.shown.unit)
        return value if value is None or digits is None else round(value, digits)


def _figures() -> Iterator[Figure]:
    for group, kind in get_type_hints(Counters).items():
        prefix = "link_" if kind is LinkAbove else ""
        hints = get_type_hints(kind, include_extras=True)
        for each in fields(kind):
            (shown,) = hints[each.name].__metadata__
            name = prefix + each.name
            may_lack = each.default == _NONE or shown.unit == "loss"
            yield Figure(name, group, each.name, shown, may_lack)


FIGURES: Final = tuple(_figures())
