"""The links of a run: what passed each boundary, how, and how long a credit took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dni_async.config.run_config import RunConfig
from dni_async.wire.messages import Progress

__all__ = ["LINK_COLUMNS", "LinkResult", "link_rows"]

LINK_COLUMNS = (
    "link",
    "carrier",
    "dtype",
    "window",
    "KB up",
    "KB down",
    "MB/s up",
    "credit",
    "least",
)


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
        if not last.link_activations:
            return None
        seconds = last.link_in_flight_s
        return cls(
            boundary=last.stage,
            carrier=last.link_carrier,
            wire_dtype=config.wire_dtype,
            window=last.link_window or config.places,
            activations=last.link_activations,
            up_bytes=last.link_up_bytes / last.link_activations,
            down_bytes=last.link_down_bytes / last.link_activations,
            up_bytes_per_second=last.link_up_bytes / seconds if seconds > 0 else 0.0,
            credit_median_seconds=_known(last.link_credit_s),
            credit_least_seconds=_known(last.link_least_credit_s),
        )

    def to_dict(self) -> dict[str, Any]:
        """The link as report.json shows it."""
        return {
            "boundary": self.boundary,
            "carrier": self.carrier,
            "wire_dtype": self.wire_dtype,
            "window": self.window,
            "activations": self.activations,
            "up_bytes": round(self.up_bytes, 1),
            "down_bytes": round(self.down_bytes, 1),
            "up_bytes_per_second": round(self.up_bytes_per_second),
            "credit_median_seconds": self.credit_median_seconds,
            "credit_least_seconds": self.credit_least_seconds,
        }


def link_rows(run: Mapping[str, Any]) -> list[list[str]]:
    """The rows of a table with LINK_COLUMNS; none in a report that does not tell."""
    return [
        [
            str(link["boundary"]),
            link["carrier"],
            link["wire_dtype"],
            str(link["window"]),
            f"{link['up_bytes'] / 1e3:,.1f}",
            f"{link['down_bytes'] / 1e3:,.1f}",
            f"{link['up_bytes_per_second'] / 1e6:,.1f}",
            _ms(link["credit_median_seconds"]),
            _ms(link["credit_least_seconds"]),
        ]
        for link in run.get("links", [])  # older reports have none
    ]


def _known(seconds: float) -> float | None:
    return None if seconds < 0 else round(seconds, 6)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f}"
