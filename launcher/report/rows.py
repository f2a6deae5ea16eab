"""Parts of a report as the rows of tables, alike on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["LINK_COLUMNS", "boundary_rows", "layer_range", "link_rows"]

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


def layer_range(first: int, end: int) -> str:
    """The layers from first up to end, without it, in words."""
    return str(first) if end == first + 1 else f"{first}-{end - 1}"


def boundary_rows(run: Mapping[str, Any]) -> list[list[str]]:
    """Of each boundary, the first epoch to the last; none in a report that does not tell.

    Boundary, gradients compared, cosine, relative error, norm ratio, median staleness, and the
    largest staleness of all epochs.
    """
    return [
        _boundary_row(boundary["stage"], boundary["epochs"])
        for boundary in run.get("boundaries", [])
        if boundary["epochs"]
    ]


def _boundary_row(stage: int, epochs: list[Mapping[str, Any]]) -> list[str]:
    def change(key: str, form: str) -> str:
        first, last = (format(epoch[key], form) for epoch in (epochs[0], epochs[-1]))
        return last if first == last else f"{first} to {last}"

    return [
        str(stage),
        f"{sum(epoch['num_gradients'] for epoch in epochs):,}",
        change("cosine", ".2f"),
        change("relative_error", ".2f"),
        change("norm_ratio", ".2f"),
        change("staleness_median", "d"),
        str(max(epoch["staleness_max"] for epoch in epochs)),
    ]


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
