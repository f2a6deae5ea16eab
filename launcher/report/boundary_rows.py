"""The boundaries of a report as the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["boundary_rows"]


def boundary_rows(run: Mapping[str, Any]) -> list[list[str]]:
    """Of each boundary, the first epoch to the last; none in a report that does not tell.

    Boundary, gradients compared, cosine, relative error, norm ratio, median staleness, and the
    largest staleness of all epochs.
    """
    return [
        _row(boundary["stage"], boundary["epochs"])
        for boundary in run.get("boundaries", [])
        if boundary["epochs"]
    ]


def _row(stage: int, epochs: list[Mapping[str, Any]]) -> list[str]:
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
