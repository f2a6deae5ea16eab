"""Train by a rule of your own: python examples/own_rule.py

A rule says which actions a batch sets off at a stage; docs/rules.md tells of them. This one lets
the stages below the head learn from every second batch alone, by a local loss, so that they keep
more of their time for passing activations on. From the command line the same rule is

    dni-launch --rule own_rule:EveryOther
"""

from __future__ import annotations

import dni_async
from dni_async.decisions.actions import Action, Batch, Forward, GiveCredit, Send, Update


class EveryOther:
    """Every second batch; no gradient travels."""

    needs_synthesizer = True  # its local loss is what a stage learns from
    is_exact = False
    anchor_every = 0

    def __init__(self, config: dni_async.RunConfig) -> None:
        self.num_batches = 0

    def window(self, asked: int) -> int:
        """As many activations in flight as were asked for."""
        return asked

    def on_batch(self, batch: Batch, *, has_below: bool, has_above: bool) -> list[Action]:
        """The head has the loss; the others predict a gradient, or only pass the batch on."""
        forward = Forward(batch.batch_id, keeps_graph=True, returns_gradient=False)
        credit = [GiveCredit((batch.batch_id,))] if has_below else []
        if not has_above:
            return [forward, Update(batch.batch_id, "loss"), *credit]
        self.num_batches += 1
        learns = self.num_batches % 2 == 1
        update = [Update(batch.batch_id, "synthetic")] if learns else []
        return [forward, Send(batch), *update, *credit]

    def on_returned(self, batch_id: int, *, has_below: bool) -> list[Action]:
        """No stage returns a gradient."""
        return []


if __name__ == "__main__":
    result = dni_async.train(rule=EveryOther, data="digits", layers=3, epochs=10)
    print(result)
    workers = result.report["runs"][0]["workers"]
    print("updates by stage:", *[worker["updates"] for worker in workers])
