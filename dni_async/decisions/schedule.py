"""The source's order of work: which batch or marker comes next."""

from __future__ import annotations

from collections.abc import Iterator

from dni_async.decisions.actions import Batch, Mark

__all__ = ["plan_work", "resume_work"]


def plan_work(
    epochs: int, train_batches: int, evaluate_batches: int, *, anchor_every: int = 0
) -> Iterator[Batch | Mark]:
    """Each epoch: its training batches, a marker, the test batches, a marker; then stop.

    batch_ids count all batches of the run from 0. The source goes past a marker only when it has
    come back, so training, evaluation and the next epoch never overlap. Every anchor_every-th
    training batch is an anchor, the first one included; none with 0.
    """
    batch_id = trained = 0
    for epoch in range(1, epochs + 1):
        for index in range(train_batches):
            anchor = anchor_every > 0 and trained % anchor_every == 0
            yield Batch(batch_id, "train", anchor, epoch, index)
            batch_id += 1
            trained += 1
        yield Mark("trained", epoch)
        for index in range(evaluate_batches):
            yield Batch(batch_id, "evaluate", False, epoch, index)
            batch_id += 1
        yield Mark("evaluated", epoch)
    yield Mark("stop", epochs)


def resume_work(work: Iterator[Batch | Mark], next_batch_id: int) -> Iterator[Batch | Mark]:
    """The rest of work from batch next_batch_id on, and the markers that stand just before it.

    Those may have been passed already; what is raised again is answered again.
    """
    marks: list[Mark] = []
    for item in work:
        if isinstance(item, Mark):
            marks.append(item)
        elif item.batch_id < next_batch_id:
            marks.clear()
        else:
            yield from marks
            yield item
            yield from work
            return
    yield from marks
