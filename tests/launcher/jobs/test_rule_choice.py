"""--rule auto: how long trials are, and where nothing is tried."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs.rule_choice import choose_rule, needs_choice, num_updates
from dni_async.launcher.plan.plan import Plan, make_plan


def plan_of(**settings: Any) -> Plan:
    return make_plan(RunConfig(rule="auto", width=16, partition="even", **settings))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 120),  # the least
        ({"num_train_batches": 1000}, 400),  # a 25th of ten epochs
        ({"num_train_batches": 1000, "num_train": None}, 400),
        ({"num_train_batches": 100000}, 600),  # the most
        ({"num_train_batches": 5}, 48),  # the run has 50, and parts are equal
        ({"num_train_batches": 60, "num_train": None}, 48),  # 8 of a stream's are held back
        ({"num_train_batches": 1}, 0),
    ],
)
def test_how_many_updates_a_trial_has(changes: dict[str, Any], expected: int) -> None:
    plan = dataclasses.replace(plan_of(epochs=10), **changes)
    assert num_updates(plan) == expected


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"synthesizer": "linear", "unlock": "forward"}, "the only candidate that goes with the"),
        ({"stages": 1}, "as one stage has no boundary"),
        ({"batch_size": 1437}, "as the run has too few batches to try anything"),
    ],
    ids=["one candidate", "one stage", "one batch"],
)
def test_where_nothing_is_tried_the_default_is_taken_and_says_why(
    settings: dict[str, Any], why: str
) -> None:
    told: list[str] = []
    chosen = choose_rule(plan_of(**settings), told.append, told.append)
    assert told == []
    assert not needs_choice(chosen.config)
    assert chosen.config == RunConfig.from_dict(
        {**plan_of(**settings).config.to_dict(), "rule": "dni"}
    )
    assert chosen.choice is not None
    assert chosen.choice["sentence"].startswith(f"rule auto: dni, {why}")
    assert chosen.notes[-1] == chosen.choice["sentence"]
