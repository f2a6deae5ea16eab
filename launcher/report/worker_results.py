"""What workers and their links did in a run, as they last told it: rows of report.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dni_async.config.run_config import RunConfig
from dni_async.wire.counters import FIGURES, Counters
from dni_async.wire.messages import Progress

__all__ = ["LinkResult", "WorkerResult", "rounded"]


def rounded(row: Any, digits: Mapping[str, int | None]) -> dict[str, Any]:
    """The fields of a dataclass, those in digits rounded to so many; None makes whole numbers."""
    values = {each.name: getattr(row, each.name) for each in fields(row)}
    return {
        name: value if name not in digits or value is None else round(value, digits[name])
        for name, value in values.items()
    }


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """One worker. layers: half-open. phases: seconds per update by kind of span, if recorded."""

    stage: int
    pid: int
    device: str
    layers: tuple[int, int]
    counters: Counters
    phases: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_progress(
        cls, last: Progress, *, pid: int, device: str, layers: tuple[int, int]
    ) -> WorkerResult:
        """What a worker did, as it last told it."""
        return cls(last.stage, pid, device, layers, last.counters)

    def to_dict(self) -> dict[str, Any]:
        """The worker as report.json shows it."""
        return {
            "stage": self.stage,
            "pid": self.pid,
            "device": self.device,
            "layers": list(self.layers),
            **{
                figure.shown.report: figure.reported(self.counters)
                for figure in FIGURES
                if figure.shown.report
            },
            "phases": {kind: round(seconds, 7) for kind, seconds in self.phases.items()},
        }


@dataclass(frozen=True, slots=True)
class LinkResult:
    """The link over the boundary above a stage, as its lower end saw it. Bytes are of a batch.

    carrier: what large tensors travelled by in the end, window: how wide it was then. activations:
    those that went up, of test batches too. up_bytes_per_second: while at least one activation was
    in flight, which is the pace of the link where the window was always full. Credits: from sending
    an activation until its place was free again, work on it included; None where none came.
    """

    boundary: int
    carrier: str
    wire_dtype: str
    window: int
    activations: int
    up_bytes: float
    down_bytes: float
    up_bytes_per_second: float
    credit_median_seconds: float | None
    credit_least_seconds: float | None

    @classmethod
    def from_progress(cls, last: Progress, config: RunConfig) -> LinkResult | None:
        """What a stage told of the link above it; None if it has none, or sent nothing."""
        link = last.counters.link
        if not link.activations:
            return None
        rate = link.up_bytes / link.in_flight_s if link.in_flight_s > 0 else 0.0
        return cls(
            boundary=last.stage,
            carrier=link.carrier,
            wire_dtype=config.wire_dtype,
            window=link.window or config.places,
            activations=link.activations,
            up_bytes=link.up_bytes / link.activations,
            down_bytes=link.down_bytes / link.activations,
            up_bytes_per_second=rate,
            credit_median_seconds=_known(link.credit_s),
            credit_least_seconds=_known(link.least_credit_s),
        )

    def to_dict(self) -> dict[str, Any]:
        """The link as report.json shows it."""
        return rounded(self, {"up_bytes": 1, "down_bytes": 1, "up_bytes_per_second": None})


def _known(seconds: float) -> float | None:
    return None if seconds < 0 else round(seconds, 6)
