"""A synthesizer's warm-up: which updates are applied, after how much has been learnt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dni_async.decisions.actions import Action, Batch, Forward, Learn, Send, Update
from dni_async.decisions.rules import AnchorRule, BootstrapRule, OccasionalRule, Rule, WarmUpRule

SOURCE = {"has_below": False, "has_above": True}
HEAD = {"has_below": True, "has_above": False}


def applied(actions: list[Action]) -> list[bool]:
    """Of the updates among actions, which are applied."""
    return [action.applies for action in actions if isinstance(action, Update)]


@pytest.mark.parametrize(
    ("rule", "learns_labels", "events", "expected"),
    [
        # b: a batch is taken up, r: a gradient comes back
        (AnchorRule(0), True, "bbbb", [False, False, True, True]),
        (AnchorRule(8), True, "brbb", [False, True, True]),  # a Learn counts as well
        (AnchorRule(8), False, "bbrbrb", [False, False, False, True]),
        (BootstrapRule(), False, "bbbrrb", [False, False, False, True]),
        (BootstrapRule(), True, "brbb", [False, True, True]),
        (AnchorRule(8, updates=True), False, "brbrb", [False, True, False, True, True]),
    ],
)
def test_the_third_thing_learnt_is_the_first_that_is_used(
    rule: Rule, learns_labels: bool, events: str, expected: list[bool]
) -> None:
    """Two updates of the synthesizer come first; a returned gradient is applied at once."""
    warming = WarmUpRule(rule, 2, learns_labels=learns_labels)
    found = []
    for batch_id, event in enumerate(events):
        if event == "b":
            found += applied(warming.on_batch(Batch(batch_id, "train"), **SOURCE))
        else:
            found += applied(warming.on_returned(batch_id, has_below=False))
    assert found == expected


def test_all_else_goes_on() -> None:
    batch = Batch(7, "train", anchor=True)
    for rule in (BootstrapRule(), AnchorRule(8), AnchorRule(8, updates=True)):
        warming = WarmUpRule(rule, 100, learns_labels=True)
        usual = rule.on_batch(batch, **SOURCE)
        expected = [
            replace(action, applies=False) if action == Update(7, "synthetic") else action
            for action in usual
        ]
        assert warming.on_batch(batch, **SOURCE) == expected
        assert warming.on_returned(7, has_below=True) == rule.on_returned(7, has_below=True)
        assert warming.window(5) == rule.window(5)
        assert warming.anchor_every == rule.anchor_every
        assert (warming.needs_synthesizer, warming.is_exact) == (True, False)


def test_the_head_updates_from_the_start() -> None:
    warming = WarmUpRule(AnchorRule(0), 5, learns_labels=True)
    assert applied(warming.on_batch(Batch(0, "train"), **HEAD)) == [True]


def test_a_rule_that_is_occasional_too_is_applied_by_none_before() -> None:
    rule = OccasionalRule(AnchorRule(0), 0.9, seed=0)
    warming = WarmUpRule(rule, 50, learns_labels=True)
    found = []
    for batch_id in range(100):
        found += applied(warming.on_batch(Batch(batch_id, "train"), **SOURCE))
    assert not any(found[:50])
    assert 0 < sum(found[50:]) < 50


def test_a_rule_that_learns_nothing_yet_sends_all_the_same() -> None:
    warming = WarmUpRule(BootstrapRule(), 1, learns_labels=False)
    kinds = [type(action) for action in warming.on_batch(Batch(0, "train"), **SOURCE)]
    assert kinds == [Forward, Send, Update]
    assert warming.on_returned(0, has_below=False) == [Learn(0)]
