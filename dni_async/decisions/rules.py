"""How a stage gets the gradient it updates with: one small class per rule.

A rule says which actions a batch sets off when it is taken up, and which when its gradient comes
back. It never sees a tensor. ``has_below`` and ``has_above`` say whether the stage has neighbours.
"""

from __future__ import annotations

from typing import Protocol

from dni_async.config import RunConfig
from dni_async.decisions.actions import (
    Action,
    Forward,
    Learn,
    ReturnGradient,
    Send,
    Update,
)

__all__ = ["BackpropRule", "BootstrapRule", "Rule", "make_rule"]


class Rule(Protocol):
    """Decides what a training batch sets off at one stage."""

    needs_synthesizer: bool
    returns_gradients: bool
    """Whether every stage computes the gradient of its input."""

    def window(self, asked: int) -> int:
        """The window of every link, given what the run asked for."""

    def on_batch(self, batch_id: int, *, has_below: bool, has_above: bool) -> list[Action]:
        """A training batch is taken up."""

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """The stage above returned the gradient of a batch."""


class BackpropRule:
    """Plain backpropagation over processes, in lockstep: one batch in the whole line at a time.

    Equals the single-process baseline bit for bit: same products, same order, same weights.
    """

    needs_synthesizer = False
    returns_gradients = True

    def window(self, asked: int) -> int:
        """Always 1: a second batch would meet weights that the first has yet to change."""
        return 1

    def on_batch(self, batch_id: int, *, has_below: bool, has_above: bool) -> list[Action]:
        """Forward; the head already knows the gradient, the others wait for theirs."""
        if has_above:
            return [Forward(batch_id), Send(batch_id, "train")]
        return [Forward(batch_id), Update(batch_id, "loss"), *_return(batch_id, has_below)]

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
    returns_gradients = True

    def window(self, asked: int) -> int:
        """As asked: no stage waits for a gradient."""
        return asked

    def on_batch(self, batch_id: int, *, has_below: bool, has_above: bool) -> list[Action]:
        """The activation goes out before the local update, so that the stage above can begin."""
        actions: list[Action] = [Forward(batch_id)]
        if has_above:
            actions += [Send(batch_id, "train"), Update(batch_id, "synthetic")]
        else:
            actions += [Update(batch_id, "loss")]
        return actions + _return(batch_id, has_below)

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """The synthesizer learns; the stage has long moved on."""
        return [Learn(batch_id)]


def make_rule(config: RunConfig) -> Rule:
    """The rule that a run names."""
    return BackpropRule() if config.rule == "backprop" else BootstrapRule()


def _return(batch_id: int, has_below: bool) -> list[Action]:
    return [ReturnGradient(batch_id)] if has_below else []
