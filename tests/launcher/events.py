"""Reads event files as TensorBoard does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def scalars(folder: Path) -> dict[str, list[Any]]:
    """Every curve in folder: its events, each with wall_time, step and value."""
    accumulator = EventAccumulator(str(folder)).Reload()
    return {tag: accumulator.Scalars(tag) for tag in accumulator.Tags()["scalars"]}
