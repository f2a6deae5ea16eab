"""Simulated runs in which anybody dies at any moment: each comes to its end, and as promised."""

from __future__ import annotations

import pytest

from tests.simulation.run import simulate
from tests.simulation.scenario import draw
from tests.simulation.world import Violation

SEEDS = 2000
QUICK = 200  # the others are slow
CHUNK = 20


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=[pytest.mark.slow] if first >= QUICK else [])
        for first in range(0, SEEDS, CHUNK)
    ],
)
def test_every_run_ends_and_loses_no_more_than_is_promised(first: int) -> None:
    """``python -m tests.simulation --seed N`` shows all that happens in one."""
    for seed in range(first, first + CHUNK):
        try:
            simulate(draw(seed))
        except Violation as violation:
            pytest.fail(f"python -m tests.simulation --seed {seed}\n{violation}")
