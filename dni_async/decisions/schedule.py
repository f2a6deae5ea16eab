"""The source's order of work: which batch or marker comes next."""

from __future__ import annotations

from collections.abc import Iterator

from dni_async.decisions.actions import Batch, Mark

__all__ = ["plan_work"]


def plan_work(epochs: int, train_batches: int, evaluate_batches: int) -> Iterator[Batch | Mark]:
    """Each epoch: its training batches, a marker, the test batches, a marker; then stop.

    batch_ids count all batches of the run from 0. The source goes past a marker only when it has
    come back, so training, evaluation and the next epoch never overlap.
    """
    batch_id = 0
    for epoch in range(1, epochs + 1):
        for index in range(train_batches):
            yield Batch(batch_id, "train", epoch, index)
            batch_id += 1
        yield Mark("trained", epoch)
        for index in range(evaluate_batches):
            yield Batch(batch_id, "evaluate", epoch, index)
            batch_id += 1
        yield Mark("evaluated", epoch)
    yield Mark("stop", epochs)
