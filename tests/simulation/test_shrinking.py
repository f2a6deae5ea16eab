"""A scenario that fails is made small, and fails as it did."""

from __future__ import annotations

import dataclasses

from tests.simulation.faults import put_back
from tests.simulation.scenario import Scenario, draw
from tests.simulation.shrinking import failure_of, shrunk

LOST = "a marker is lost with a death"


def test_what_is_left_is_little_and_fails_in_the_same_way() -> None:
    with put_back(LOST):
        scenario = next(each for each in map(draw, range(100)) if failure_of(each) is not None)
        small = shrunk(scenario)
        failures = failure_of(scenario), failure_of(small)
    assert failures[0] is not None
    assert failures[1] is not None
    assert failures[0].kind == failures[1].kind
    assert (small.num_stages, small.epochs, len(small.deaths)) == (2, 1, 1)
    assert failure_of(small) is None, "without the fault nothing fails"


def test_settings_that_need_each_other_stay_together() -> None:
    with put_back(LOST):
        scenario = next(each for each in map(draw, range(100)) if failure_of(each) is not None)
        settings = scenario.settings | {"target": 0.01, "early_stop": True}
        small = shrunk(dataclasses.replace(scenario, settings=settings))
    assert small.config.target is None or small.config.early_stop


def test_a_scenario_comes_back_from_its_text() -> None:
    for seed in range(50):
        scenario = draw(seed)
        assert Scenario.from_json(scenario.to_json()) == scenario
