"""Rules that wrap another one, and leave out some of its updates."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from dni_async.decisions.actions import Action, Batch, Learn, Update
from dni_async.decisions.rules.interface import Rule, restore_rule, rule_state

__all__ = ["OccasionalRule", "WarmUpRule"]


class OccasionalRule:
    """Another rule, whose updates are made with a probability only.

    So stages are updated in random order (Jaderberg et al. 2016, section 3.3). All else that the
    rule does goes on: activations are sent, synthesizers learn.
    """

    def __init__(self, rule: Rule, probability: float, seed: int) -> None:
        self.needs_synthesizer = rule.needs_synthesizer
        self.is_exact = rule.is_exact
        self.anchor_every = rule.anchor_every
        self._rule = rule
        self._probability = probability
        self._draw = random.Random(seed)

    def window(self, asked: int) -> int:
        """As the other rule."""
        return self._rule.window(asked)

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """As the other rule, some updates left out."""
        actions = self._rule.on_batch(batch, has_below=has_below, has_above=has_above)
        return [self._drawn(action) for action in actions]

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """As the other rule, some updates left out."""
        actions = self._rule.on_returned(batch_id, has_below=has_below)
        return [self._drawn(action) for action in actions]

    def state(self) -> dict[str, Any]:
        """Where the draws stand, and what the other rule remembers."""
        version, words, _ = self._draw.getstate()
        return {"draws": [version, list(words)], "rule": rule_state(self._rule)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        version, words = state["draws"]
        self._draw.setstate((version, tuple(words), None))
        restore_rule(self._rule, state["rule"])

    def _drawn(self, action: Action) -> Action:
        if not isinstance(action, Update):
            return action
        return replace(action, applies=self._draw.random() < self._probability)


class WarmUpRule:
    """Another rule, whose synthetic gradients are applied once the synthesizer has learnt.

    num_updates: how many updates of the synthesizer come first: each Learn is one, and with
    learns_labels each prediction too. Until then all else that the rule does goes on: activations
    are sent, the gradient of the input goes down, true gradients are applied.
    """

    def __init__(self, rule: Rule, num_updates: int, *, learns_labels: bool) -> None:
        self.needs_synthesizer = rule.needs_synthesizer
        self.is_exact = rule.is_exact
        self.anchor_every = rule.anchor_every
        self._rule = rule
        self._remaining = num_updates
        self._learns_labels = learns_labels

    def window(self, asked: int) -> int:
        """As the other rule."""
        return self._rule.window(asked)

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """As the other rule, the first synthetic gradients not applied."""
        actions = self._rule.on_batch(batch, has_below=has_below, has_above=has_above)
        return [self._heed(action) for action in actions]

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """As the other rule, the first synthetic gradients not applied."""
        actions = self._rule.on_returned(batch_id, has_below=has_below)
        return [self._heed(action) for action in actions]

    def state(self) -> dict[str, Any]:
        """How many updates the synthesizer has yet to make, and what the other rule remembers."""
        return {"remaining": self._remaining, "rule": rule_state(self._rule)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._remaining = state["remaining"]
        restore_rule(self._rule, state["rule"])

    def _heed(self, action: Action) -> Action:
        """The action as it is to be done now, and count what the synthesizer learns by it."""
        if self._remaining <= 0:
            return action
        if isinstance(action, Learn):
            self._remaining -= 1
        elif isinstance(action, Update) and action.source == "synthetic":
            self._remaining -= self._learns_labels
            return replace(action, applies=False)
        return action
