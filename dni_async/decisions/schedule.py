"""The source's order of work: which batch, marker or cut comes next."""

from __future__ import annotations

from collections.abc import Iterator

from dni_async.decisions.actions import Batch, Cut, Item, Mark

__all__ = ["plan_work", "resume_work", "trained_up_to"]


def plan_work(
    epochs: int,
    train_batches: int,
    evaluate_batches: int,
    *,
    anchor_every: int = 0,
    cut_every: int = 0,
    evaluate_every: int = 1,
    tests_are_saved: bool = False,
    start: tuple[int, int] = (1, 0),
) -> Iterator[Item]:
    """Each epoch: its training batches, a marker, the test batches, a marker; then stop.

    Only every evaluate_every-th epoch and the last one have markers and test batches. batch_ids
    count all batches of the run from 0, as if all epochs had. The source goes past a marker only
    when it has come back, so training and evaluation never overlap. Every anchor_every-th training
    batch is an anchor, the first one included; none with 0. Every cut_every training batches there
    is a cut; none with 0, nor behind a test where tests_are_saved anyway. start: the epoch and the
    index of the training batch with which a resumed run goes on; ids and anchors are as if all
    before it had been done.
    """
    first_epoch, first_index = start
    num_batches = train_batches + evaluate_batches
    for epoch in range(first_epoch, epochs + 1):
        first_id = (epoch - 1) * num_batches
        is_saved = tests_are_saved and (epoch - 1) % evaluate_every == 0
        for index in range(first_index if epoch == first_epoch else 0, train_batches):
            trained = (epoch - 1) * train_batches + index
            anchor = anchor_every > 0 and trained % anchor_every == 0
            batch = Batch(first_id + index, "train", anchor, epoch, index)
            may_be_cut = (epoch, index) > max(start, (1, 0)) and not (is_saved and index == 0)
            if cut_every and trained % cut_every == 0 and may_be_cut:
                yield Cut.before(batch)
            yield batch
        if epoch % evaluate_every and epoch != epochs:
            continue
        yield Mark("trained", epoch, first_id + train_batches)
        for index in range(evaluate_batches):
            yield Batch(first_id + train_batches + index, "evaluate", False, epoch, index)
        yield Mark("evaluated", epoch, first_id + num_batches)
    yield Mark("stop", 0, epochs * num_batches)


def trained_up_to(batch_id: int, train_batches: int, evaluate_batches: int) -> int:
    """How many training batches the order of work has up to this one, which is one, as well."""
    epochs, index = divmod(batch_id, train_batches + evaluate_batches)
    return epochs * train_batches + index + 1


def resume_work(work: Iterator[Item], next_batch_id: int, reach: int = 0) -> Iterator[Item]:
    """The rest of work from batch next_batch_id on, and the markers that stand just before it.

    Those may have been passed already; what is raised again is answered again. reach: markers that
    stand up to so many batches before it come too, where batches do not wait for markers.
    """
    marks: list[Mark] = []
    for item in work:
        if isinstance(item, Mark):
            marks.append(item)
        elif item.batch_id < next_batch_id:
            # A cut before such a batch has been made.
            marks = [mark for mark in marks if mark.next_batch_id >= next_batch_id - reach]
        else:
            yield from marks
            yield item
            yield from work
            return
    yield from marks
