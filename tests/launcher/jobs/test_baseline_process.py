"""How the threads of a baseline wait, by what was seen of the machine."""

from __future__ import annotations

import dataclasses

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs.baseline_process import waiting_beside
from dni_async.launcher.plan.plan import Plan, make_plan
from dni_async.launcher.report.results import RunResult


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Two cores, which others wanted before the run."""
    made = make_plan(RunConfig(layers=2, width=8, epochs=1))
    return dataclasses.replace(made, cores=2, load=3.0)


@pytest.mark.parametrize(
    ("others", "num_threads", "waiting"),
    [(0.0, 2, "spin"), (0.19, 2, "spin"), (0.2, 2, "sleep"), (None, 2, "sleep"), (1.5, 1, None)],
)
def test_threads_sleep_only_where_nothing_will_be_compared(
    plan: Plan, others: float | None, num_threads: int, waiting: str | None
) -> None:
    ours = RunResult("dni", "decoupled", "dni", 2, 2, others_cores=others)
    assert waiting_beside(ours, plan, num_threads) == waiting
