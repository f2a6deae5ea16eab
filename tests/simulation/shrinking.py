"""Makes of a scenario that fails a smaller one that fails in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from dni_async.errors import ConfigError
from tests.simulation.run import simulate
from tests.simulation.scenario import Death, Scenario
from tests.simulation.world import Violation

__all__ = ["failure_of", "shrunk"]

MOST_TRIES = 400


def failure_of(scenario: Scenario) -> Violation | None:
    """How it fails, if it does."""
    try:
        simulate(scenario)
    except Violation as violation:
        return violation
    return None


def shrunk(scenario: Scenario) -> Scenario:
    """The smallest that was found to fail as scenario does."""
    failure = failure_of(scenario)
    if failure is None:
        return scenario
    tries = MOST_TRIES
    has_shrunk = True
    while has_shrunk and tries > 0:
        has_shrunk = False
        for smaller in _smaller(scenario):
            tries -= 1
            try:
                found = failure_of(smaller)
            except ConfigError:  # what is left of its settings does not go together
                continue
            if found is not None and found.kind == failure.kind:
                scenario, has_shrunk = smaller, True
                break
            if tries <= 0:
                break
    return scenario


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios with less in them: the greatest steps first."""
    changed = dataclasses.replace
    for place in range(len(scenario.deaths)):
        rest = scenario.deaths[:place] + scenario.deaths[place + 1 :]
        yield changed(scenario, deaths=rest)
    if scenario.stalls:
        yield changed(scenario, stalls=())
    for name in sorted(scenario.settings.keys() - {"rule", "targets", "anchor_every"}):
        yield changed(scenario, settings=_without(scenario, name))
    if scenario.bad_writes:
        yield changed(scenario, bad_writes=0.0)
    if scenario.stop_at < 2.0:
        yield changed(scenario, stop_at=2.0)
    yield from _with_fewer(scenario)
    if scenario.speeds:
        yield changed(scenario, speeds=())


def _without(scenario: Scenario, name: str) -> dict[str, object]:
    return {key: value for key, value in scenario.settings.items() if key != name}


def _with_fewer(scenario: Scenario) -> Iterator[Scenario]:
    """Of stages, epochs, batches."""
    changed = dataclasses.replace
    least = {"num_stages": 1, "epochs": 1, "train_batches": 1, "test_batches": 0, "window": 1}
    for name, least_of in least.items():
        value = getattr(scenario, name)
        for fewer in sorted({least_of, (value + least_of) // 2, value - 1}):
            if least_of <= fewer < value:
                smaller = changed(scenario, **{name: fewer})
                yield changed(smaller, deaths=tuple(_fitted(d, smaller) for d in scenario.deaths))
    if scenario.evaluate_every > 1:
        yield changed(scenario, evaluate_every=1)


def _fitted(death: Death, scenario: Scenario) -> Death:
    return dataclasses.replace(death, stage=min(death.stage, scenario.num_stages - 1))
