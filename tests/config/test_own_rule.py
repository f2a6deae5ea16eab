"""A rule of the user's own: what it says of itself is held to as if it were built in."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async import ConfigError, RunConfig
from dni_async.decisions.actions import Action, Batch
from dni_async.decisions.rules import RULES, Traits, traits_of
from dni_async.launcher.report.ceiling import measure_line
from tests.launcher.reports import report, worker


class Plain:
    """Says no more than a rule must; named below as a user's is."""

    needs_synthesizer, is_exact, anchor_every = True, False, 0

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    def window(self, asked: int) -> int:
        """As asked."""
        return asked

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """Nothing, as nobody trains by it."""
        return []

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """Nothing."""
        return []


class Narrow(Plain):
    """Wants a window of its own."""

    default_window = 3


class Exact(Plain):
    """Promises the baseline's bits."""

    is_exact = True


class Complete(Plain):
    """Cannot do without any batch."""

    may_lose_batches = False


class Unlocking(Plain):
    """Goes with synthetic inputs."""

    unlocks_forward = True


class Waiting(Plain):
    """Takes one batch at a time, and updates when its gradient has come back."""

    needs_synthesizer, waits_for_gradients = False, True

    def window(self, asked: int) -> int:
        """Always 1."""
        return 1


class Labelled(Plain):
    """Teaches its synthesizers by labels alone."""

    needs_labels = True


def run(rule: type[Plain], **settings: Any) -> RunConfig:
    """A run by that rule, which is named as a user's."""
    return RunConfig(rule=f"{__name__}:{rule.__name__}", **settings)


def test_a_rule_that_says_no_more_than_it_must_has_the_defaults() -> None:
    expected = Traits(needs_synthesizer=True, is_exact=False, anchor_every=0)
    assert run(Plain).rule_traits == expected
    assert expected.allows_replacement
    assert expected.updates_at_once


def test_its_module_is_not_imported_before_it_is_asked() -> None:
    config = RunConfig(rule="no_such_module:Rule", window=4)
    with pytest.raises(ConfigError, match="rule: cannot import 'no_such_module'"):
        config.make_rule()


@pytest.mark.parametrize(
    ("config", "places", "first"),
    [
        (run(Plain), 16, 16),
        (run(Narrow), 3, 3),
        (run(Narrow, window=7), 7, 7),
        (run(Narrow, window="auto"), 256, 3),
        (run(Waiting, window=7), 1, 1),
        (RunConfig(rule="backprop"), 1, 1),
        (RunConfig(rule="fdg"), 4, 4),
        (RunConfig(targets="bootstrap"), 4, 4),
        (RunConfig(), 16, 16),
    ],
)
def test_a_link_has_the_places_that_the_rule_uses(
    config: RunConfig, places: int, first: int
) -> None:
    assert (config.places, config.first_window) == (places, first)


@pytest.mark.parametrize(
    ("rule", "allows", "updates_at_once", "is_lockstep"),
    [
        (Plain, True, True, False),
        (Exact, False, True, False),
        (Complete, False, True, False),
        (Waiting, True, False, True),
    ],
)
def test_what_follows_from_what_it_says(
    rule: type[Plain], allows: bool, updates_at_once: bool, is_lockstep: bool
) -> None:
    traits = run(rule).rule_traits
    assert traits.allows_replacement is allows
    assert traits.updates_at_once is updates_at_once
    assert traits.is_lockstep is is_lockstep


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        (Exact, {"wire_dtype": "bf16"}, "wire_dtype: rule .*:Exact is exact"),
        (Waiting, {"stages": "auto"}, "stages: auto .* with rule .*:Waiting one stage works"),
        (Waiting, {"unlock": "forward"}, "unlock: .*:Waiting they wait for gradients; use it with"),
        (Plain, {"unlock": "forward"}, "unlock: forward needs a rule that says so"),
        (Waiting, {"when_full": "skip"}, "when_full: skip needs a rule .* such as dni or dgl; "),
        (Labelled, {"synthesizer": "linear"}, "synthesizer: rule .*:Labelled learns from labels"),
        (Plain, {"label_conditioning": False}, "label_conditioning: the critic is a classifier"),
    ],
)
def test_what_it_does_not_go_with_is_refused(
    rule: type[Plain], settings: dict[str, Any], message: str
) -> None:
    config = run(rule, **settings)  # where its module cannot be imported a report can still be read
    with pytest.raises(ConfigError, match=message):
        config.make_rule()


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        (Unlocking, {"unlock": "forward"}),
        (Plain, {"when_full": "skip", "when_empty": "replay"}),
        (Exact, {"wire_zeros": "omit"}),
        (Labelled, {}),
        (Plain, {"stages": "auto", "wire_dtype": "int8"}),
    ],
)
def test_what_it_goes_with_is_taken(rule: type[Plain], settings: dict[str, Any]) -> None:
    assert isinstance(run(rule, **settings).make_rule(), rule)


@pytest.mark.parametrize("name", RULES)
def test_a_built_in_rule_says_what_a_table_can_hold(name: str) -> None:
    traits = traits_of(RunConfig(rule=name).make_rule())
    assert traits.is_lockstep == traits.is_exact == (name == "backprop")
    assert traits.waits_for_gradients == (name in ("backprop", "fdg"))
    assert traits.unlocks_forward == (name in ("dni", "dgl", "no-bprop"))
    assert traits.updates_at_once == (name in ("dni", "dgl"))
    assert traits.needs_labels == (name == "dgl")


@pytest.mark.parametrize("is_lockstep", [True, False])
def test_a_line_in_lockstep_is_measured_as_one_whatever_its_rule_is_called(
    is_lockstep: bool,
) -> None:
    told = report(worker(0, 0.01), worker(1, 0.01), rate=1000, rule="my.rules:Mine")
    told["runs"][0]["is_lockstep"] = is_lockstep
    line = measure_line(told)
    assert line is not None
    assert (line.limit == "lockstep") is is_lockstep
