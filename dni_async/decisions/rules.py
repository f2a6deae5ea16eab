"""How a stage gets the gradient it updates with: one small class per rule.

A rule says which actions a batch sets off when it is taken up, and which when its gradient comes
back. It never sees a tensor. ``has_below`` and ``has_above`` say whether the stage has neighbours.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Protocol, cast

from dni_async.config.extensions import make_extension
from dni_async.config.run_config import RunConfig
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
from dni_async.errors import ConfigError

__all__ = [
    "AnchorRule",
    "BackpropRule",
    "BootstrapRule",
    "DelayedRule",
    "NoBackpropRule",
    "OccasionalRule",
    "Rule",
    "make_rule",
    "restore_rule",
    "rule_state",
]


_RULE_MEMBERS = (
    "needs_synthesizer",
    "is_exact",
    "anchor_every",
    "window",
    "on_batch",
    "on_returned",
)


class Rule(Protocol):
    """Decides what a training batch sets off at one stage.

    A rule of your own is a class with these members, made as ``Class(config)`` and named by
    ``--rule package.module:Class``. Where ``unlocks_forward`` is there too and true, the rule also
    goes with ``--unlock forward``: it sends every batch up on_batch, and needs no true input.
    One that remembers what a resumed run must know has two more: ``state()``, which gives it as
    JSON values, and ``restore(state)``.
    """

    needs_synthesizer: bool
    is_exact: bool
    """Whether results must equal the single-process baseline's bit for bit."""
    anchor_every: int
    """Every so many training batches is an anchor; 0: none."""

    def window(self, asked: int) -> int:
        """The window of every link, given what the run asked for."""

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """A training batch is taken up."""

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """The stage above returned the gradient of a batch."""


class BackpropRule:
    """Plain backpropagation over processes, in lockstep: one batch in the whole line at a time.

    Equals the single-process baseline bit for bit: same products, same order, same weights.
    """

    needs_synthesizer = False
    is_exact = True
    anchor_every = 0

    def window(self, asked: int) -> int:
        """Always 1: a second batch would meet weights that the first has yet to change."""
        return 1

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """Forward; the head already knows the gradient, the others wait for theirs."""
        forward = Forward(batch.batch_id, keeps_graph=True, returns_gradient=has_below)
        if has_above:
            return [forward, Send(batch)]
        return [forward, Update(batch.batch_id, "loss"), *_return(batch.batch_id, has_below)]

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """Apply the gradient and pass the input's down."""
        return [Update(batch_id, "returned"), *_return(batch_id, has_below)]


class BootstrapRule:
    """Decoupled neural interfaces with bootstrapped targets (Jaderberg et al. 2016, section 2.1).

    A stage sends its activation, updates at once with the synthetic gradient, and returns the
    gradient of its own input, pulled back from that synthetic gradient, as the target for the
    synthesizer below. Only the head knows the true gradient.
    """

    needs_synthesizer = True
    is_exact = False
    anchor_every = 0

    def window(self, asked: int) -> int:
        """As asked: no stage waits for a gradient."""
        return asked

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """The activation goes out before the local update, so that the stage above can begin."""
        batch_id = batch.batch_id
        forward = Forward(batch_id, keeps_graph=True, returns_gradient=has_below)
        actions: list[Action] = [forward]
        if has_above:
            actions += [Send(batch), Update(batch_id, "synthetic")]
        else:
            actions += [Update(batch_id, "loss")]
        return actions + _return(batch_id, has_below)

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """The synthesizer learns; the stage has long moved on."""
        return [Learn(batch_id)]


class AnchorRule:
    """Decoupled neural interfaces whose targets are true gradients, of every K-th batch only.

    A stage updates at once with the synthetic gradient and computes no gradient of its input: two
    matrix products per layer and batch instead of backpropagation's three. An anchor's gradient
    comes down from the head through every stage, and each synthesizer learns from it. A stage has
    moved on by then, so it replays the kept input through its present weights (Features Replay,
    Huo et al. 2018). updates: an anchor's gradient is also what the stage updates with, instead
    of the synthetic one.
    """

    needs_synthesizer = True
    is_exact = False

    def __init__(self, anchor_every: int, *, updates: bool = False) -> None:
        self.anchor_every = anchor_every
        self.updates = updates

    def window(self, asked: int) -> int:
        """As asked. An anchor keeps its place until its gradient has come back."""
        return asked

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """Update at once, but for an anchor whose own gradient is to be the update."""
        batch_id = batch.batch_id
        returns_gradient = batch.anchor and has_below
        if not has_above:
            forward = Forward(batch_id, keeps_graph=True, returns_gradient=returns_gradient)
            actions: list[Action] = [forward, Update(batch_id, "loss")]
            if batch.anchor:
                return actions + _return(batch_id, has_below)
            return actions + _credit(batch_id, has_below)
        if batch.anchor and self.updates:
            forward = Forward(batch_id, keeps_graph=False, returns_gradient=returns_gradient)
            return [forward, Send(batch)]
        forward = Forward(
            batch_id, keeps_graph=True, returns_gradient=False, keeps_inputs=returns_gradient
        )
        actions = [forward, Send(batch), Update(batch_id, "synthetic")]
        return actions if batch.anchor else actions + _credit(batch_id, has_below)

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """Pass the gradient down by replay first: the stages below wait to learn."""
        if self.updates:
            return [Update(batch_id, "returned"), *_return(batch_id, has_below), Learn(batch_id)]
        if has_below:
            return [CarryBack(batch_id), ReturnGradient(batch_id), Learn(batch_id)]
        return [Learn(batch_id)]


class DelayedRule:
    """Fully decoupled gradients: delayed and shrunk (Zhuang et al. 2019, 1906.09108).

    Every batch's true gradient comes back, as late as the window lets it. Each boundary shrinks it
    by ``shrink`` (the paper's beta), so that the staler a gradient is, the less it weighs. The
    paper pulls it back through stored graphs; here the kept input is replayed through the present
    weights, as in Features Replay (Huo et al. 2018).
    """

    needs_synthesizer = False
    is_exact = False
    anchor_every = 0

    def __init__(self, shrink: float) -> None:
        self.shrink = shrink

    def window(self, asked: int) -> int:
        """As asked: it bounds the delay."""
        return asked

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """Forward alone; the head, whose gradient is not late, updates."""
        batch_id = batch.batch_id
        forward = Forward(batch_id, keeps_graph=not has_above, returns_gradient=has_below)
        if has_above:
            return [forward, Send(batch)]
        return [forward, Update(batch_id, "loss"), *_return(batch_id, has_below)]

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """Apply the gradient by replay and pass the input's down."""
        return [Update(batch_id, "returned", self.shrink), *_return(batch_id, has_below)]


class NoBackpropRule:
    """Only the head learns: what the layers below are worth as they were drawn. The control."""

    needs_synthesizer = False
    is_exact = False
    anchor_every = 0

    def window(self, asked: int) -> int:
        """As asked."""
        return asked

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """Pass the batch on; the head updates."""
        batch_id = batch.batch_id
        forward = Forward(batch_id, keeps_graph=not has_above, returns_gradient=False)
        action: Action = Send(batch) if has_above else Update(batch_id, "loss")
        return [forward, action, *_credit(batch_id, has_below)]

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """Nothing comes back."""
        return []


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


def rule_state(rule: Rule) -> Any:
    """What rule remembers, as JSON values; None where it says nothing of that."""
    return rule.state() if hasattr(rule, "state") else None


def restore_rule(rule: Rule, state: Any) -> None:
    """Let rule go on from what rule_state gave, if that is anything."""
    if state is not None and hasattr(rule, "restore"):
        rule.restore(state)


def make_rule(config: RunConfig) -> Rule:
    """The rule that a run names; a class of the user's own is given the config.

    Raises ConfigError when that is no rule.
    """
    if config.rule == "backprop":
        return BackpropRule()
    if config.rule == "no-bprop":
        return NoBackpropRule()
    if config.rule == "fdg":
        return DelayedRule(config.gradient_shrink)
    if config.rule == "dgl":
        return AnchorRule(0)  # a critic that nobody corrects is an auxiliary linear head
    if config.rule != "dni":
        return _make_own(config)
    if config.targets == "anchor":
        return AnchorRule(config.anchor_every, updates=config.anchor_updates)
    return BootstrapRule()


def _make_own(config: RunConfig) -> Rule:
    rule = make_extension("rule", config.rule, _RULE_MEMBERS, config)
    if config.unlock == "forward" and not getattr(rule, "unlocks_forward", False):
        raise ConfigError(
            f"unlock: forward needs a rule that says so, and {config.rule} has no true "
            "unlocks_forward; see docs/rules.md"
        )
    return cast("Rule", rule)


def _return(batch_id: int, has_below: bool) -> list[Action]:
    return [ReturnGradient(batch_id)] if has_below else []


def _credit(batch_id: int, has_below: bool) -> list[Action]:
    return [GiveCredit((batch_id,))] if has_below else []
