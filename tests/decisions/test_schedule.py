"""The source's order of work: everything once, markers where things must not overlap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dni_async.config.run_config import RunConfig
from dni_async.decisions.actions import Batch, Cut, Item, Mark
from dni_async.decisions.schedule import plan_work, resume_work


def test_two_epochs() -> None:
    work = plan_work(2, train_batches=2, evaluate_batches=1, anchor_every=3)
    assert list(work) == [
        Batch(0, "train", anchor=True, epoch=1, index=0),
        Batch(1, "train", epoch=1, index=1),
        Mark("trained", 1),
        Batch(2, "evaluate", epoch=1, index=0),
        Mark("evaluated", 1),
        Batch(3, "train", epoch=2, index=0),
        Batch(4, "train", anchor=True, epoch=2, index=1),
        Mark("trained", 2),
        Batch(5, "evaluate", epoch=2, index=0),
        Mark("evaluated", 2),
        Mark("stop", 0),
    ]


@given(epochs=st.integers(1, 5), train=st.integers(0, 6), evaluate=st.integers(0, 6))
def test_every_batch_once_with_ids_that_count_up(epochs: int, train: int, evaluate: int) -> None:
    work = list(plan_work(epochs, train, evaluate))
    batches = [item for item in work if isinstance(item, Batch)]
    assert [batch.batch_id for batch in batches] == list(range(epochs * (train + evaluate)))
    for epoch in range(1, epochs + 1):
        for purpose, count in (("train", train), ("evaluate", evaluate)):
            mine = [b.index for b in batches if (b.epoch, b.purpose) == (epoch, purpose)]
            assert mine == list(range(count))
    assert [item for item in work if isinstance(item, Mark)][-1] == work[-1] == Mark("stop", 0)


@pytest.mark.parametrize(
    ("epochs", "every", "tested"),
    [(4, 1, [1, 2, 3, 4]), (4, 2, [2, 4]), (5, 2, [2, 4, 5]), (5, 9, [5]), (1, 3, [1])],
)
def test_only_epochs_that_are_tested_have_markers(
    epochs: int, every: int, tested: list[int]
) -> None:
    work = list(plan_work(epochs, 3, 2, evaluate_every=every))
    marks = [(item.kind, item.epoch) for item in work if isinstance(item, Mark)]
    expected = [(kind, epoch) for epoch in tested for kind in ("trained", "evaluated")]
    assert marks == [*expected, ("stop", 0)]
    batches = [item for item in work if isinstance(item, Batch)]
    assert [b.epoch for b in batches if b.purpose == "evaluate" and b.index == 0] == tested
    # Training batches, and their ids, are those of a run that is tested after every epoch.
    full = [item for item in plan_work(epochs, 3, 2) if isinstance(item, Batch)]
    assert [b for b in batches if b.purpose == "train"] == [b for b in full if b.purpose == "train"]
    config = RunConfig(epochs=epochs, evaluate_every=every)
    assert [e for e in range(1, epochs + 1) if config.tested_at(e) == e] == tested
    assert config.tested_at(0) == 0


@pytest.mark.parametrize("anchor_every", [0, 1, 2, 5, 100])
def test_anchors_are_every_so_many_training_batches_of_the_whole_run(anchor_every: int) -> None:
    work = plan_work(3, train_batches=7, evaluate_batches=2, anchor_every=anchor_every)
    batches = [item for item in work if isinstance(item, Batch)]
    assert not any(batch.anchor for batch in batches if batch.purpose == "evaluate")
    anchors = [batch.anchor for batch in batches if batch.purpose == "train"]
    assert anchors == [anchor_every > 0 and count % anchor_every == 0 for count in range(21)]


def test_no_epochs_is_only_the_end() -> None:
    assert list(plan_work(0, 5, 5)) == [Mark("stop", 0)]


@pytest.mark.parametrize(
    ("next_batch_id", "first"),
    [
        (0, Batch(0, "train", False, 1, 0)),
        (1, Batch(1, "train", False, 1, 1)),
        (2, Mark("trained", 1)),
        (3, Mark("evaluated", 1)),
        (4, Batch(4, "train", False, 2, 1)),
        (6, Mark("evaluated", 2)),
        (99, Mark("evaluated", 2)),
    ],
)
def test_resumed_work_begins_with_the_markers_before_its_first_batch(
    next_batch_id: int, first: Batch | Mark
) -> None:
    work = list(plan_work(2, train_batches=2, evaluate_batches=1))
    rest = list(resume_work(iter(work), next_batch_id))
    assert rest[0] == first
    assert rest == work[work.index(first) :]


def test_markers_without_a_batch_between_them_are_all_raised_again() -> None:
    work = plan_work(2, train_batches=1, evaluate_batches=0)
    rest = list(resume_work(work, 1))
    assert rest[:2] == [Mark("trained", 1), Mark("evaluated", 1)]


def test_cuts_are_every_so_many_training_batches_and_not_at_the_start() -> None:
    work = plan_work(2, train_batches=3, evaluate_batches=2, cut_every=2)
    assert [item for item in work if isinstance(item, Cut)] == [Cut(2, 1, 2), Cut(6, 2, 1)]


@given(
    epochs=st.integers(1, 4),
    train=st.integers(1, 6),
    evaluate=st.integers(0, 3),
    anchor_every=st.integers(0, 4),
    cut_every=st.integers(0, 4),
    data=st.data(),
)
def test_a_resumed_run_does_what_was_left(
    epochs: int, train: int, evaluate: int, anchor_every: int, cut_every: int, data: st.DataObject
) -> None:
    def plan(start: tuple[int, int]) -> list[Item]:
        numbers = (epochs, train, evaluate)
        return list(
            plan_work(*numbers, anchor_every=anchor_every, cut_every=cut_every, start=start)
        )

    whole = plan((1, 0))
    batches = [item for item in whole if isinstance(item, Batch) and item.purpose == "train"]
    first = data.draw(st.sampled_from(batches))
    assert plan((first.epoch, first.index)) == whole[whole.index(first) :]
