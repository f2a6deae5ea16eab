"""The seeds that the tests simulate, in chunks that are dealt out to files, so to processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.simulation.run import simulate
from tests.simulation.scenario import draw
from tests.simulation.world import Violation

__all__ = ["chunks", "hold"]

SEEDS = 2000
QUICK = 800  # the others are slow
CHUNK = 20
FILES = 2


def chunks(file: int) -> Sequence[Any]:
    """The first seed of each chunk of a file."""
    return [
        pytest.param(first, marks=[pytest.mark.slow] if first >= QUICK else [])
        for first in range(file * CHUNK, SEEDS, FILES * CHUNK)
    ]


def hold(first: int) -> None:
    """Nothing happens in a chunk that must not."""
    for seed in range(first, first + CHUNK):
        try:
            simulate(draw(seed))
        except Violation as violation:
            pytest.fail(f"python -m tests.simulation --seed {seed}\n{violation}")
