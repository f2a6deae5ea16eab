"""All rows of the users' table, in its order."""

from __future__ import annotations

from benchmarks.workloads.users import (
    frozen,
    images,
    odd_data,
    odd_networks,
    segments,
    stream,
    tables,
    tagging,
    text,
)

__all__ = ["ROWS"]

ROWS = (
    *images.ROWS,
    *text.ROWS,
    *segments.ROWS,
    *tagging.ROWS,
    *tables.ROWS,
    *frozen.ROWS,
    *stream.ROWS,
    *odd_networks.ROWS,
    *odd_data.ROWS,
)
