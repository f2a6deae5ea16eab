"""Whole runs, drawn from seeds: whoever dies, the run goes on to its end as it is promised.

The other half of those in ``test_runs``.
"""

from __future__ import annotations

import pytest

from tests.simulation.seeds import chunks, hold


@pytest.mark.parametrize("first", chunks(1))
def test_every_run_ends_and_loses_no_more_than_is_promised(first: int) -> None:
    """``python -m tests.simulation --seed N`` shows all that happens in one."""
    hold(first)
