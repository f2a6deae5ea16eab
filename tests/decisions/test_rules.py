"""Rules: what a batch and a returned gradient set off at each place in the line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dni_async import ConfigError, RunConfig
from dni_async.decisions.actions import (
    Action,
    Batch,
    CarryBack,
    Forward,
    GiveCredit,
    Learn,
    ReturnGradient,
    Send,
    Update,
)
from dni_async.decisions.rules import (
    AnchorRule,
    BackpropRule,
    BootstrapRule,
    DelayedRule,
    GreedyRule,
    NoBackpropRule,
    OccasionalRule,
    Rule,
    WarmUpRule,
    restore_rule,
    rule_state,
)

SOURCE = {"has_below": False, "has_above": True}
MIDDLE = {"has_below": True, "has_above": True}
HEAD = {"has_below": True, "has_above": False}
ALONE = {"has_below": False, "has_above": False}
BOTTOM, ABOVE = {"has_below": False}, {"has_below": True}

PLAIN, ANCHOR = Batch(7, "train"), Batch(7, "train", anchor=True)
RETURN, CREDIT = ReturnGradient(7), GiveCredit((7,))
SYNTHETIC, LOSS, RETURNED = (
    Update(7, "synthetic"),
    Update(7, "loss"),
    Update(7, "returned"),
)


def forward(
    *, keeps_graph: bool = True, returns_gradient: bool = False, keeps_inputs: bool = False
) -> Forward:
    """The forward of the batch, for an update at once and nothing below."""
    return Forward(7, keeps_graph, returns_gradient, keeps_inputs)


RETURNING = forward(returns_gradient=True)
WAITING, WAITING_RETURNING = (replace(each, is_late=True) for each in (forward(), RETURNING))
KEEPING_INPUT = forward(keeps_graph=False)
KEEPING_INPUT_RETURNING = forward(keeps_graph=False, returns_gradient=True)
BACKPROP, BOOTSTRAP, ANCHORS = BackpropRule(), BootstrapRule(), AnchorRule(8)
UPDATING, DELAYED, CONTROL = AnchorRule(8, updates=True), DelayedRule(0.5), NoBackpropRule()
REPLAYING, UPDATING_BY_REPLAY = (
    DelayedRule(0.5, "replay"),
    AnchorRule(8, updates=True, replays=True),
)
FOR_LATER = forward(keeps_inputs=True)


@pytest.mark.parametrize(
    ("rule", "batch", "place", "actions"),
    [
        (BACKPROP, PLAIN, SOURCE, [forward(), Send(PLAIN)]),
        (BACKPROP, PLAIN, MIDDLE, [RETURNING, Send(PLAIN)]),
        (BACKPROP, PLAIN, HEAD, [RETURNING, LOSS, RETURN]),
        (BACKPROP, PLAIN, ALONE, [forward(), LOSS]),
        (BOOTSTRAP, PLAIN, SOURCE, [forward(), Send(PLAIN), SYNTHETIC]),
        (BOOTSTRAP, PLAIN, MIDDLE, [RETURNING, Send(PLAIN), SYNTHETIC, RETURN]),
        (BOOTSTRAP, PLAIN, HEAD, [RETURNING, LOSS, RETURN]),
        (BOOTSTRAP, PLAIN, ALONE, [forward(), LOSS]),
        (ANCHORS, PLAIN, SOURCE, [forward(), Send(PLAIN), SYNTHETIC]),
        (ANCHORS, PLAIN, MIDDLE, [forward(), Send(PLAIN), SYNTHETIC, CREDIT]),
        (ANCHORS, PLAIN, HEAD, [forward(), LOSS, CREDIT]),
        (ANCHORS, PLAIN, ALONE, [forward(), LOSS]),
        (ANCHORS, ANCHOR, SOURCE, [forward(), Send(ANCHOR), SYNTHETIC]),
        (ANCHORS, ANCHOR, MIDDLE, [FOR_LATER, Send(ANCHOR), SYNTHETIC]),
        (ANCHORS, ANCHOR, HEAD, [RETURNING, LOSS, RETURN]),
        (UPDATING, PLAIN, MIDDLE, [forward(), Send(PLAIN), SYNTHETIC, CREDIT]),
        (UPDATING, ANCHOR, SOURCE, [WAITING, Send(ANCHOR)]),
        (UPDATING, ANCHOR, MIDDLE, [WAITING_RETURNING, Send(ANCHOR)]),
        (UPDATING_BY_REPLAY, ANCHOR, SOURCE, [KEEPING_INPUT, Send(ANCHOR)]),
        (UPDATING_BY_REPLAY, ANCHOR, MIDDLE, [KEEPING_INPUT_RETURNING, Send(ANCHOR)]),
        (UPDATING, ANCHOR, HEAD, [RETURNING, LOSS, RETURN]),
        (DELAYED, PLAIN, SOURCE, [WAITING, Send(PLAIN)]),
        (DELAYED, PLAIN, MIDDLE, [WAITING_RETURNING, Send(PLAIN)]),
        (DELAYED, PLAIN, HEAD, [RETURNING, LOSS, RETURN]),
        (REPLAYING, PLAIN, SOURCE, [KEEPING_INPUT, Send(PLAIN)]),
        (REPLAYING, PLAIN, MIDDLE, [KEEPING_INPUT_RETURNING, Send(PLAIN)]),
        (REPLAYING, PLAIN, HEAD, [RETURNING, LOSS, RETURN]),
        (DELAYED, PLAIN, ALONE, [forward(), LOSS]),
        (CONTROL, PLAIN, SOURCE, [KEEPING_INPUT, Send(PLAIN)]),
        (CONTROL, PLAIN, MIDDLE, [KEEPING_INPUT, Send(PLAIN), CREDIT]),
        (CONTROL, PLAIN, HEAD, [forward(), LOSS, CREDIT]),
        (CONTROL, PLAIN, ALONE, [forward(), LOSS]),
        (ANCHORS, ANCHOR, ALONE, [forward(), LOSS]),
    ],
)
def test_a_batch_is_taken_up(
    rule: Rule, batch: Batch, place: dict[str, bool], actions: list[Action]
) -> None:
    assert rule.on_batch(batch, **place) == actions


@pytest.mark.parametrize(
    ("rule", "place", "actions"),
    [
        (BACKPROP, BOTTOM, [RETURNED]),
        (BACKPROP, ABOVE, [RETURNED, RETURN]),
        (BOOTSTRAP, BOTTOM, [Learn(7)]),
        (BOOTSTRAP, ABOVE, [Learn(7)]),
        (ANCHORS, BOTTOM, [Learn(7)]),
        (ANCHORS, ABOVE, [CarryBack(7), RETURN, Learn(7)]),
        (DELAYED, BOTTOM, [Update(7, "returned", 0.5)]),
        (DELAYED, ABOVE, [Update(7, "returned", 0.5), RETURN]),
        (UPDATING, BOTTOM, [RETURNED, Learn(7)]),
        (UPDATING, ABOVE, [RETURNED, RETURN, Learn(7)]),
    ],
)
def test_a_gradient_returns(rule: Rule, place: dict[str, bool], actions: list[Action]) -> None:
    assert rule.on_returned(7, **place) == actions


def test_an_occasional_rule_leaves_out_updates_and_nothing_else() -> None:
    rule = OccasionalRule(BootstrapRule(), 0.25, seed=3)
    usual = BootstrapRule().on_batch(PLAIN, **MIDDLE)
    made = 0
    for _ in range(1000):
        actions = rule.on_batch(PLAIN, **MIDDLE)
        (update,) = [action for action in actions if isinstance(action, Update)]
        made += update.applies
        assert [SYNTHETIC if action is update else action for action in actions] == usual
    assert 200 < made < 300
    assert rule.on_returned(7, **ABOVE) == [Learn(7)]
    assert rule.window(5) == 5
    assert (rule.needs_synthesizer, rule.is_exact, rule.anchor_every) == (True, False, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_an_occasional_rule_draws_the_same_each_time(seed: int) -> None:
    first, second = (OccasionalRule(BackpropRule(), 0.5, seed) for _ in range(2))
    for _ in range(50):
        assert first.on_returned(7, **ABOVE) == second.on_returned(7, **ABOVE)


@pytest.mark.parametrize("asked", [1, 4, 100])
def test_windows(asked: int) -> None:
    assert BACKPROP.window(asked) == 1  # lockstep
    assert BOOTSTRAP.window(asked) == asked
    assert ANCHORS.window(asked) == asked


@pytest.mark.parametrize(
    ("values", "kind", "needs_synthesizer", "anchor_every"),
    [
        ({"rule": "backprop"}, BackpropRule, False, 0),
        ({"rule": "backprop", "targets": "anchor"}, BackpropRule, False, 0),
        ({"rule": "no-bprop"}, NoBackpropRule, False, 0),
        ({"rule": "fdg"}, DelayedRule, False, 0),
        ({"rule": "dgl"}, GreedyRule, True, 0),
        ({"rule": "dni", "targets": "bootstrap"}, BootstrapRule, True, 0),
        ({"rule": "dni", "targets": "anchor", "anchor_every": 3}, AnchorRule, True, 3),
        ({"rule": "dni", "targets": "anchor", "anchor_every": 0}, AnchorRule, True, 0),
    ],
)
def test_a_config_names_its_rule(
    values: dict[str, Any], kind: type, needs_synthesizer: bool, anchor_every: int
) -> None:
    rule = RunConfig(**values).make_rule()
    assert type(rule) is kind
    assert rule.needs_synthesizer is needs_synthesizer
    assert rule.anchor_every == anchor_every


@pytest.mark.parametrize("updates", [False, True])
def test_a_config_says_what_anchors_are_for(updates: bool) -> None:
    rule = RunConfig(anchor_updates=updates).make_rule()
    assert isinstance(rule, AnchorRule)
    assert rule.updates is updates


class Own(BootstrapRule):
    """A rule of the user's own that does not go with synthetic inputs."""

    unlocks_forward = False

    def __init__(self, config: RunConfig) -> None:
        self.config = config


class OwnUnlocked(Own):
    """One that goes with them."""

    unlocks_forward = True


def test_a_rule_of_the_users_own_must_say_that_it_goes_with_synthetic_inputs() -> None:
    name = f"{__name__}:Own"
    assert isinstance(RunConfig(rule=name).make_rule(), Own)
    with pytest.raises(ConfigError, match=f"unlock: forward needs .* {name} has no true"):
        RunConfig(rule=name, unlock="forward").make_rule()
    unlocked = RunConfig(rule=f"{name}Unlocked", unlock="forward").make_rule()
    assert isinstance(unlocked, OwnUnlocked)


@pytest.mark.parametrize("taken_at", [0, 5])
def test_a_rule_that_remembers_goes_on_from_its_state(taken_at: int) -> None:
    def made() -> Rule:
        return WarmUpRule(OccasionalRule(AnchorRule(4), 0.5, seed=3), 4, learns_labels=True)

    def updates(rule: Rule, count: int) -> list[Action]:
        return [
            action
            for batch_id in range(count)
            for action in rule.on_batch(Batch(batch_id, "train"), has_below=True, has_above=True)
        ]

    lasting, resumed = made(), made()
    updates(lasting, taken_at)
    state = json.loads(json.dumps(rule_state(lasting)))
    updates(resumed, 3)
    restore_rule(resumed, state)
    assert updates(resumed, 20) == updates(lasting, 20)


def test_a_rule_that_remembers_nothing_has_no_state() -> None:
    assert rule_state(AnchorRule(4)) is None
    restore_rule(AnchorRule(4), None)
