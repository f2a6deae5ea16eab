"""Rules by which a stage updates at once, with a gradient that it predicts."""

from __future__ import annotations

from dni_async.decisions.actions import (
    Action,
    Batch,
    CarryBack,
    Forward,
    Learn,
    ReturnGradient,
    Send,
    Update,
)
from dni_async.decisions.rules.interface import Rule, credit, pass_down

__all__ = ["AnchorRule", "BootstrapRule", "GreedyRule", "make_dni"]

STALE_WINDOW = 4  # 16 loses what synthesizers learn from synthetic gradients (docs/decisions/0017)


def make_dni(*, targets: str, anchor_every: int, anchor_updates: bool, late_gradients: str) -> Rule:
    """Decoupled neural interfaces with these targets: ``bootstrap`` or ``anchor``."""
    if targets == "anchor":
        replays = late_gradients == "replay"
        return AnchorRule(anchor_every, updates=anchor_updates, replays=replays)
    return BootstrapRule()


class BootstrapRule:
    """Decoupled neural interfaces with bootstrapped targets (Jaderberg et al. 2016, section 2.1).

    A stage sends its activation, updates at once with the synthetic gradient, and returns the
    gradient of its own input, pulled back from that synthetic gradient, as the target for the
    synthesizer below. Only the head knows the true gradient.
    """

    needs_synthesizer = True
    is_exact = False
    anchor_every = 0
    default_window = STALE_WINDOW
    unlocks_forward = True
    updates_in_turn = True

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
        return actions + pass_down(batch_id, has_below)

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
    of the synthetic one; replays: by replay too, rather than through what the forward left.
    """

    needs_synthesizer = True
    is_exact = False
    unlocks_forward = True

    def __init__(self, anchor_every: int, *, updates: bool = False, replays: bool = False) -> None:
        self.anchor_every = anchor_every
        self.updates, self.replays = updates, replays
        self.updates_in_turn = not updates

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
                return actions + pass_down(batch_id, has_below)
            return actions + credit(batch_id, has_below)
        if batch.anchor and self.updates:
            forward = Forward(
                batch_id,
                keeps_graph=not self.replays,
                returns_gradient=returns_gradient,
                is_late=not self.replays,
            )
            return [forward, Send(batch)]
        forward = Forward(
            batch_id, keeps_graph=True, returns_gradient=False, keeps_inputs=returns_gradient
        )
        actions = [forward, Send(batch), Update(batch_id, "synthetic")]
        return actions if batch.anchor else actions + credit(batch_id, has_below)

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """Pass the gradient down by replay first: the stages below wait to learn."""
        if self.updates:
            return [
                Update(batch_id, "returned"),
                *pass_down(batch_id, has_below),
                Learn(batch_id),
            ]
        if has_below:
            return [CarryBack(batch_id), ReturnGradient(batch_id), Learn(batch_id)]
        return [Learn(batch_id)]


class GreedyRule(AnchorRule):
    """Decoupled greedy learning (Belilovsky et al. 2019, 1901.08164): a local loss at each stage.

    A critic that nobody corrects is an auxiliary classifier, so this is dni without anchors.
    """

    needs_labels = True

    def __init__(self) -> None:
        super().__init__(0)
