"""What a rule is, and what it says of itself.

A rule decides how a stage gets the gradient it updates with: which actions a batch sets off when it
is taken up, and which when its gradient comes back. It never sees a tensor. ``has_below`` and
``has_above`` say whether the stage has neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

from dni_async.decisions.actions import Action, Batch, GiveCredit, ReturnGradient

__all__ = [
    "RULE_MEMBERS",
    "Rule",
    "Traits",
    "credit",
    "pass_down",
    "restore_rule",
    "rule_state",
    "traits_of",
]

RULE_MEMBERS = (
    "needs_synthesizer",
    "is_exact",
    "anchor_every",
    "window",
    "on_batch",
    "on_returned",
)
"""What no rule can do without."""


class Rule(Protocol):
    """Decides what a training batch sets off at one stage.

    A rule of your own is a class with these members, made as ``Class(config)`` and named by
    ``--rule package.module:Class``. What else is asked of rules are the fields of Traits that have
    a default: an attribute of that name says otherwise. One that remembers what a resumed run must
    know has two more: ``state()``, which gives it as JSON values, and ``restore(state)``.
    """

    needs_synthesizer: bool
    is_exact: bool
    anchor_every: int

    def window(self, asked: int) -> int:
        """The window of every link, given what the run asked for."""

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """A training batch is taken up."""

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """The stage above returned the gradient of a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a rule says of itself, and all that the rest of the program knows it by."""

    needs_synthesizer: bool
    """Whether stages below the head update with synthetic gradients."""
    is_exact: bool
    """Whether results must equal the single-process baseline's bit for bit."""
    anchor_every: int
    """Every so many training batches is an anchor; 0: none."""
    waits_for_gradients: bool = False
    """Whether a stage below the head updates only when the one above has returned a gradient."""
    default_window: int = 16
    """The window of a run that asks for none (docs/decisions/0017)."""
    unlocks_forward: bool = False
    """Whether it goes with ``--unlock forward``: it sends every batch up on_batch, and needs no
    true input."""
    updates_in_turn: bool = False
    """Whether all updates with a batch are made when it is taken up, and none when its gradient
    comes back. Then a test may follow the last batch at once, and the next epoch the test."""
    needs_labels: bool = False
    """Whether its synthesizers must learn from labels, as no gradient comes back to teach them."""
    may_lose_batches: bool = True
    """Whether training goes on when a worker is replaced, with what it had in flight lost. Never
    where is_exact."""
    is_lockstep: bool = False
    """Whether one batch at a time is in the whole line. Not said but found: see traits_of."""

    @property
    def updates_at_once(self) -> bool:
        """Whether a stage below the head learns from a batch that nobody above is given."""
        return self.needs_synthesizer and not self.waits_for_gradients

    @property
    def allows_replacement(self) -> bool:
        """Whether a worker that dies may be replaced while the others go on."""
        return self.may_lose_batches and not self.is_exact


def traits_of(rule: Rule) -> Traits:
    """What rule says, with the defaults for all that it does not speak of.

    It runs in lockstep where stages wait for gradients and no window is wider than 1.
    """
    names = [each.name for each in fields(Traits) if hasattr(rule, each.name)]
    said: dict[str, Any] = {name: getattr(rule, name) for name in names}
    waits = said.get("waits_for_gradients", False)
    said["is_lockstep"] = waits and rule.window(2) == 1
    return Traits(**said)


def rule_state(rule: Rule) -> Any:
    """What rule remembers, as JSON values; None where it says nothing of that."""
    return rule.state() if hasattr(rule, "state") else None


def restore_rule(rule: Rule, state: Any) -> None:
    """Let rule go on from what rule_state gave, if that is anything."""
    if state is not None and hasattr(rule, "restore"):
        rule.restore(state)


def pass_down(batch_id: int, has_below: bool) -> list[Action]:
    """Give the gradient of the batch's input to the stage below, if there is one."""
    return [ReturnGradient(batch_id)] if has_below else []


def credit(batch_id: int, has_below: bool) -> list[Action]:
    """Give the stage below, if there is one, its place back."""
    return [GiveCredit((batch_id,))] if has_below else []
