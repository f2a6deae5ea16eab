"""Learning rates over a run."""

from __future__ import annotations

import pytest

from dni_async import ConfigError, RunConfig
from dni_async.stage.descent.rates import check_schedule, make_rate_factor, rate_factor
from tests.own_optimizers import halves


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


def test_one_of_the_users_own_begins_after_the_warm_up() -> None:
    config = RunConfig(lr_schedule="tests.own_optimizers:halves", warmup_updates=4, accumulate=2)
    factor = make_rate_factor(config, 24)
    assert factor is not None
    assert [factor(update) for update in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert [factor(update) for update in range(4, 12)] == [halves(n, 8) for n in range(8)]


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("math:isqrt", r"^lr_schedule: math:isqrt raised TypeError.* at update 0"),
        (
            "operator:sub",
            r"^lr_schedule: operator:sub gave -10.0 at update 0 of 10, needs a factor",
        ),
        ("operator:floordiv", ""),
        (
            "torch.optim.lr_scheduler:StepLR",
            r"^lr_schedule: StepLR sets the rate .* give a function",
        ),
        ("math:hypo", "^lr_schedule: 'math' has no callable 'hypo'; did you mean math:hypot"),
    ],
)
def test_what_gives_no_factor_is_refused_before_the_start(schedule: str, said: str) -> None:
    config = RunConfig(lr_schedule=schedule)
    if not said:
        check_schedule(config, 10)
        return
    with pytest.raises(ConfigError, match=said):
        check_schedule(config, 10)
