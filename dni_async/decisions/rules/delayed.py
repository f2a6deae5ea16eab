"""The rule by which a stage updates with true gradients that come late."""

from __future__ import annotations

from dni_async.decisions.actions import Action, Batch, Forward, Send, Update
from dni_async.decisions.rules.interface import pass_down

__all__ = ["DelayedRule"]


class DelayedRule:
    """Fully decoupled gradients: delayed and shrunk (Zhuang et al. 2019, 1906.09108).

    Every batch's true gradient comes back, as late as the window lets it. Each boundary
    multiplies it by ``gradient_shrink`` (the paper's beta), so that the staler a gradient is, the
    less it weighs. The paper pulls it back through stored graphs of old weights; here it goes
    through the present ones, and replays: whether through what they make of the kept input, as in
    Features Replay (Huo et al. 2018), or through the inputs and masks that the forward left.
    """

    needs_synthesizer = False
    is_exact = False
    anchor_every = 0
    waits_for_gradients = True
    default_window = 4  # every gradient is as stale as the window is wide

    def __init__(self, gradient_shrink: float, late_gradients: str = "kept") -> None:
        self.shrink = gradient_shrink
        self.replays = late_gradients == "replay"

    def window(self, asked: int) -> int:
        """As asked: it bounds the delay."""
        return asked

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """Forward alone; the head, whose gradient is not late, updates."""
        batch_id = batch.batch_id
        forward = Forward(
            batch_id,
            keeps_graph=not (has_above and self.replays),
            returns_gradient=has_below,
            is_late=has_above and not self.replays,
        )
        if has_above:
            return [forward, Send(batch)]
        return [forward, Update(batch_id, "loss"), *pass_down(batch_id, has_below)]

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """Apply the gradient and pass the input's down."""
        return [Update(batch_id, "returned", self.shrink), *pass_down(batch_id, has_below)]
