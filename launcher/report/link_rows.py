"""The links of a run: what passed each boundary, how, and how long a credit took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["LINK_COLUMNS", "link_rows"]

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


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f}"
