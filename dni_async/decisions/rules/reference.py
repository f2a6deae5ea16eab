"""What synthetic gradients are held against: plain backpropagation, and none below the head."""

from __future__ import annotations

from dni_async.decisions.actions import Action, Batch, Forward, Send, Update
from dni_async.decisions.rules.interface import credit, pass_down

__all__ = ["BackpropRule", "NoBackpropRule"]


class BackpropRule:
    """Plain backpropagation over processes, in lockstep: one batch in the whole line at a time.

    Equals the single-process baseline bit for bit: same products, same order, same weights.
    """

    needs_synthesizer = False
    is_exact = True
    anchor_every = 0
    waits_for_gradients = True

    def window(self, asked: int) -> int:
        """Always 1: a second batch would meet weights that the first has yet to change."""
        return 1

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """Forward; the head already knows the gradient, the others wait for theirs."""
        forward = Forward(batch.batch_id, keeps_graph=True, returns_gradient=has_below)
        if has_above:
            return [forward, Send(batch)]
        return [
            forward,
            Update(batch.batch_id, "loss"),
            *pass_down(batch.batch_id, has_below),
        ]

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """Apply the gradient and pass the input's down."""
        return [Update(batch_id, "returned"), *pass_down(batch_id, has_below)]


class NoBackpropRule:
    """Only the head learns: what the layers below are worth as they were drawn. The control."""

    needs_synthesizer = False
    is_exact = False
    anchor_every = 0
    unlocks_forward = True
    updates_in_turn = True

    def window(self, asked: int) -> int:
        """As asked."""
        return asked

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """Pass the batch on; the head updates."""
        batch_id = batch.batch_id
        forward = Forward(batch_id, keeps_graph=not has_above, returns_gradient=False)
        action: Action = Send(batch) if has_above else Update(batch_id, "loss")
        return [forward, action, *credit(batch_id, has_below)]

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """Nothing comes back."""
        return []
