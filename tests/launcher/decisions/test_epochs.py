"""Epochs become whole in whatever order workers tell of them."""

from __future__ import annotations

import math
from itertools import permutations

import pytest

from dni_async.launcher.decisions.epochs import EpochMessage, OpenEpochs, WholeEpoch
from dni_async.wire.messages import BoundaryEpoch, EpochLoss, EpochTrained, Evaluated


def boundary(stage: int, epoch: int, num_gradients: int = 3) -> BoundaryEpoch:
    """What the worker of this stage tells."""
    return BoundaryEpoch("run", stage, epoch, num_gradients, 0.5, 0.9, 0.4, 2, 7)


def told_of(epoch: int, *boundaries: BoundaryEpoch) -> list[EpochMessage]:
    """All that is told of an epoch."""
    return [
        EpochTrained("run", epoch, 1.5),
        EpochLoss("run", epoch, 0.25, 100),
        Evaluated("run", epoch, 0.5, {"accuracy": 0.75}, 20),
        *boundaries,
    ]


def whole_epoch(*boundaries: BoundaryEpoch) -> WholeEpoch:
    """The first one as told_of has it."""
    return WholeEpoch(1, 1.5, 0.25, 0.5, {"accuracy": 0.75}, 100, 20, boundaries)


ALL = told_of(1, boundary(0, 1), boundary(1, 1))


@pytest.mark.parametrize("order", list(permutations(range(len(ALL)))))
def test_an_epoch_is_whole_with_the_last_message_whichever_that_is(order: tuple[int, ...]) -> None:
    epochs = OpenEpochs(3)
    *before, last = (epochs.enter(ALL[index]) for index in order)
    assert before == [[]] * 4
    assert last == [whole_epoch(boundary(0, 1), boundary(1, 1))]


def test_a_boundary_that_compared_nothing_is_waited_for_and_left_out() -> None:
    epochs = OpenEpochs(3)
    *before, (last,) = map(epochs.enter, told_of(1, boundary(0, 1), boundary(1, 1, 0)))
    assert before == [[]] * 4
    assert last.boundaries == (boundary(0, 1),)


def test_a_stage_alone_has_no_boundary() -> None:
    *_, (last,) = map(OpenEpochs(1).enter, told_of(1))
    assert last == whole_epoch()


def test_epochs_are_kept_apart() -> None:
    epochs = OpenEpochs(2)
    first, second = told_of(1, boundary(0, 1)), told_of(2, boundary(0, 2))
    late = first.pop()
    *before, (whole,) = map(epochs.enter, [*first[1:], *second])
    assert before == [[]] * (len(first) + len(second) - 2)
    assert whole.epoch == 2
    assert epochs.enter(late) == []
    (closed,) = epochs.enter(first[0])
    assert closed.epoch == 1


def test_a_word_that_is_said_again_closes_nothing_twice() -> None:
    epochs = OpenEpochs(2)
    for message in told_of(1, boundary(0, 1)):
        epochs.enter(message)
    assert epochs.enter(boundary(0, 1)) == []
    assert epochs.rest() == []


def test_what_a_replacement_tells_again_changes_nothing() -> None:
    epochs = OpenEpochs(2)
    of_replaced = [
        EpochTrained("run", 1, 0.1),
        EpochLoss("run", 1, -1.0, 0),
        Evaluated("run", 1, math.nan, {}, 0),
        boundary(0, 1, 0),
    ]
    *first, last = told_of(1, boundary(0, 1))
    for message, again in zip(first, of_replaced, strict=False):
        assert epochs.enter(message) == []
        assert epochs.enter(again) == []
    (whole,) = epochs.enter(last)
    assert whole == whole_epoch(boundary(0, 1))
    assert [epochs.enter(message) for message in of_replaced] == [[]] * 4


def test_what_a_dead_worker_has_not_told_is_waited_for_until_its_successor_tells_of_later() -> None:
    epochs = OpenEpochs(3)
    for message in told_of(1, boundary(0, 1)):  # stage 1 dies before it tells of the first
        assert epochs.enter(message) == []
    for message in told_of(2, boundary(0, 2)):
        assert epochs.enter(message) == []
    first, second = epochs.enter(boundary(1, 2))
    assert (first.epoch, first.boundaries) == (1, (boundary(0, 1),))
    assert (second.epoch, second.boundaries) == (2, (boundary(0, 2), boundary(1, 2)))
    assert epochs.enter(boundary(1, 1)) == []


def test_at_the_end_an_epoch_may_lack_boundaries_but_nothing_else() -> None:
    epochs = OpenEpochs(3)
    *of_first, _ = told_of(1, boundary(0, 1), boundary(1, 1))
    for message in [*of_first, *told_of(2)[1:]]:  # of the second the source has told nothing
        assert epochs.enter(message) == []
    (whole,) = epochs.rest()
    assert (whole.epoch, whole.boundaries) == (1, (boundary(0, 1),))
    assert epochs.rest() == []


def test_a_stage_that_there_is_not_is_not_waited_for() -> None:
    epochs = OpenEpochs(2)
    assert epochs.enter(boundary(7, 1)) == []
    *_, (whole,) = map(epochs.enter, told_of(1, boundary(0, 1)))
    assert whole.boundaries == (boundary(0, 1),)
