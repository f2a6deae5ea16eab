"""Seeds: one for every stage, the same on every machine."""

from __future__ import annotations

from dni_async.seeding import stage_seed


def test_seeds_are_distinct_and_fit_63_bits() -> None:
    seeds = {stage_seed(seed, stage) for seed in (0, 1, 2, 2**31 - 1) for stage in range(64)}
    assert len(seeds) == 4 * 64
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_stay_what_they_were() -> None:
    """Runs are compared across versions of this package: a change here is a breaking one."""
    assert [stage_seed(0, 0), stage_seed(0, 1), stage_seed(7, 3)] == [
        7896617691693857887,
        2918264622725855778,
        2530781778362038830,
    ]
