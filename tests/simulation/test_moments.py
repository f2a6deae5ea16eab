"""A single death, at moments spread evenly over all that somebody does in a run."""

from __future__ import annotations

import pytest

from tests.simulation.moments import ROLES, moments
from tests.simulation.run import simulate
from tests.simulation.scenario import Death, Scenario


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("seed", [2])
def test_no_single_death_costs_more_than_is_promised(role: str, seed: int) -> None:
    """``python -m tests.simulation --moments 20000`` has more of them."""
    outcomes = [simulate(scenario) for scenario in list(moments(role, seed))[::20]]
    assert not any(outcome.missing for outcome in outcomes)
    assert any(outcome.deaths or outcome.launches > 1 for outcome in outcomes) or role not in (
        "source",
        "head",
        "launcher",
    )


def test_the_last_words_of_a_stage_alone_may_die_with_it() -> None:
    """Nobody beside it knows them: its epoch is entered all the same, with what is known."""
    scenario = Scenario(
        seed=3025,
        num_stages=1,
        epochs=1,
        train_batches=8,
        test_batches=0,
        window=1,
        settings={"rule": "fdg"},
        deaths=(Death("worker", 0, op=24),),
    )
    outcome = simulate(scenario)
    assert (outcome.deaths, outcome.replaced, outcome.missing) == (1, 1, [])


def test_nobody_awaits_the_neighbours_of_a_head_that_died_as_it_was_about_to_leave() -> None:
    """They have left: its replacement would wait for them until it is given up."""
    scenario = Scenario(
        seed=3505,
        num_stages=5,
        epochs=2,
        train_batches=5,
        settings={
            "rule": "no-bprop",
            "unlock": "forward",
            "checkpoint_every": "1",
            "keep_best": True,
            "target": 0.458,
            "early_stop": True,
        },
        speeds=(0.004, 0.02, 0.004, 0.02, 0.001),
        losses=(0.12, 0.145),
        deaths=(Death("worker", 4, op=70),),
    )
    outcome = simulate(scenario)
    assert outcome.deaths == 1
    assert outcome.seconds < 10
