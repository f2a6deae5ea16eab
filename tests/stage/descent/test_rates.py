"""Learning rates over a run."""

from __future__ import annotations

import pytest

from dni_async import RunConfig
from dni_async.stage.descent.rates import make_rate_factor, rate_factor


@pytest.mark.parametrize(
    ("schedule", "warmup", "update", "factor"),
    [
        ("constant", 0, 0, 1.0),
        ("constant", 0, 99, 1.0),
        ("constant", 4, 0, 0.25),
        ("constant", 4, 3, 1.0),
        ("linear", 0, 0, 1.0),
        ("linear", 0, 25, 0.75),
        ("linear", 20, 60, 0.5),  # half of what is left after the warm-up
        ("linear", 0, 100, 0.0),  # never beyond the end
        ("linear", 0, 1000, 0.0),
        ("cosine", 0, 0, 1.0),
        ("cosine", 0, 50, 0.5),
        ("cosine", 0, 100, 0.0),
        ("step", 0, 59, 1.0),
        ("step", 0, 60, 0.1),
        ("step", 0, 80, 0.01),
        ("cosine", 200, 100, 0.505),  # a warm-up longer than the run
    ],
)
def test_factors(schedule: str, warmup: int, update: int, factor: float) -> None:
    assert rate_factor(update, 100, schedule=schedule, warmup=warmup) == pytest.approx(factor)


def test_a_rate_that_stays_costs_nothing() -> None:
    assert make_rate_factor(RunConfig(), 100) is None
    for config in (RunConfig(warmup_updates=5), RunConfig(lr_schedule="cosine")):
        factor = make_rate_factor(config, 100)
        assert factor is not None
        assert factor(2) == rate_factor(
            2, 100, schedule=config.lr_schedule, warmup=config.warmup_updates
        )
