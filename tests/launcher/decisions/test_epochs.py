"""Epochs become whole in whatever order workers tell of them."""

from __future__ import annotations

import dataclasses
import math
from itertools import permutations

import pytest

from dni_async.decisions.words import EpochWord, speaker
from dni_async.launcher.decisions.epochs import OpenEpochs, WholeEpoch
from dni_async.wire.messages import BoundaryEpoch, EpochLoss, EpochTrained, Evaluated


def boundary(stage: int, epoch: int, num_gradients: int = 3) -> BoundaryEpoch:
    """What the worker of this stage tells."""
    return BoundaryEpoch("run", stage, epoch, num_gradients, 0.5, 0.9, 0.4, 2, 7)


def told_of(epoch: int, *boundaries: BoundaryEpoch) -> list[EpochWord]:
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


# The head says the second before the third, and so they come.
ORDERS = [order for order in permutations(range(len(ALL))) if order.index(1) < order.index(2)]


@pytest.mark.parametrize("order", ORDERS)
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


def test_epochs_are_kept_apart_and_become_whole_in_order() -> None:
    """The words of stage 0 come late, and in order."""
    epochs = OpenEpochs(3)
    told = {epoch: told_of(epoch, boundary(1, epoch), boundary(0, epoch)) for epoch in (1, 2)}
    of_others = [word for epoch in told for word in told[epoch][1:4]]
    assert [epochs.enter(word) for word in of_others] == [[]] * 6
    found = [epochs.enter(told[epoch][at]) for epoch in told for at in (0, 4)]
    assert [[whole.epoch for whole in each] for each in found] == [[], [1], [], [2]]


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


SPEAKERS = {"source": 0, "head": 2, "stage 1": 1}


@pytest.mark.parametrize("stage", SPEAKERS.values(), ids=SPEAKERS)
def test_what_a_dead_worker_has_not_told_is_waited_for_until_its_successor_tells_of_later(
    stage: int,
) -> None:
    """So an epoch is entered, whoever has died, and without what is lost alone."""
    epochs = OpenEpochs(3, seconds_of=lambda epoch: 0.25)
    for epoch in (1, 2):
        for word in told_of(epoch, boundary(0, epoch), boundary(1, epoch)):
            if speaker(word, 3) != stage:
                assert epochs.enter(word) == []
    words = [word for word in told_of(2, boundary(0, 2), boundary(1, 2))
             if speaker(word, 3) == stage]  # fmt: skip
    *early, last = [whole for word in words for whole in epochs.enter(word)]
    assert [whole.epoch for whole in (*early, last)] == [1, 2]
    assert last == dataclasses.replace(whole_epoch(boundary(0, 2), boundary(1, 2)), epoch=2)
    (first,) = early
    assert first.seconds == (0.25 if stage == 0 else 1.5)
    assert (first.train_loss, first.num_samples) == ((None, 0) if stage == 2 else (0.25, 100))
    assert (first.test_loss, first.num_tested) == ((None, 0) if stage == 2 else (0.5, 20))
    assert {each.stage for each in first.boundaries} == {0, 1} - {stage}
    assert [epochs.enter(word) for word in told_of(1)] == [[]] * 3


def test_the_head_may_lose_a_test_and_nothing_else() -> None:
    epochs = OpenEpochs(1)
    trained, loss, _ = told_of(1)
    for word in (trained, loss):
        assert epochs.enter(word) == []
    assert list(epochs.missing(1)) == [(0, 1)]
    (first,) = epochs.enter(told_of(2)[1])
    assert (first.train_loss, first.test_loss, first.test_metrics) == (0.25, None, {})


def test_at_the_end_an_epoch_may_lack_boundaries_and_one_that_is_over_anything() -> None:
    def half_told() -> OpenEpochs:
        epochs = OpenEpochs(3)
        *of_first, _ = told_of(1, boundary(0, 1), boundary(1, 1))
        for message in [*of_first, *told_of(2)[1:]]:  # of the second the source has told nothing
            assert epochs.enter(message) == []
        return epochs

    epochs = half_told()
    (whole,) = epochs.rest()
    assert (whole.epoch, whole.boundaries) == (1, (boundary(0, 1),))
    assert epochs.rest() == []
    first, second, third = half_told().rest(3)
    assert first == whole
    assert (second.epoch, second.seconds, second.train_loss) == (2, 0.0, 0.25)
    assert (third.epoch, third.train_loss, third.num_samples) == (3, None, 0)


def test_what_is_missing_of_epochs_that_are_over() -> None:
    epochs = OpenEpochs(3, next_of=lambda epoch: 2 * (epoch // 2 + 1) if epoch < 4 else None)
    for word in told_of(2, boundary(1, 2)):
        epochs.enter(word)
    assert list(epochs.missing(1)) == []
    assert list(epochs.missing(4)) == [(0, 2), (0, 4), (1, 4), (2, 4)]
    assert epochs.enter(EpochLoss("run", 3, 0.25, 100)) == []  # which nobody is to tell of
    assert epochs.enter(EpochLoss("run", 6, 0.25, 100)) == []


def test_a_stage_that_there_is_not_is_not_waited_for() -> None:
    epochs = OpenEpochs(2)
    assert epochs.enter(boundary(7, 1)) == []
    *_, (whole,) = map(epochs.enter, told_of(1, boundary(0, 1)))
    assert whole.boundaries == (boundary(0, 1),)


@pytest.mark.parametrize(
    ("cores", "test_s"), [(0, 0.5), (1, 0.875), (2, 0.5)], ids=["unknown", "one", "two"]
)
def test_a_test_that_ran_in_between_is_taken_off_and_no_more_than_it_took(
    cores: int, test_s: float
) -> None:
    epochs = OpenEpochs(3, cores=cores)
    words = [
        EpochTrained("run", 1, 1.5),
        BoundaryEpoch("run", 0, 1, 0, 0.0, 0.0, 0.0, 0, 0, tested_s=0.5),
        BoundaryEpoch("run", 1, 1, 0, 0.0, 0.0, 0.0, 0, 0, tested_s=0.25),
        EpochLoss("run", 1, 0.25, 100, tested_s=0.125),
        Evaluated("run", 1, 0.5, {}, 200),
    ]
    (whole,) = [whole for word in words for whole in epochs.enter(word)]
    assert (whole.seconds, whole.test_seconds) == (1.5 - test_s, test_s)


@pytest.mark.parametrize(
    ("num_trained", "num_tested", "test_s"),
    [(300, 100, 0.25), (100, 300, 0.75), (0, 100, 1.0)],
    ids=["few", "many", "lost"],
)
def test_a_test_has_no_more_of_an_epochs_time_than_its_samples_would_have_if_trained(
    num_trained: int, num_tested: int, test_s: float
) -> None:
    epochs = OpenEpochs(2)
    words = [
        EpochTrained("run", 1, 1.0),
        BoundaryEpoch("run", 0, 1, 0, 0.0, 0.0, 0.0, 0, 0, tested_s=2.0),
        EpochLoss("run", 1, 0.25, num_trained, tested_s=0.0),
        Evaluated("run", 1, 0.5, {}, num_tested),
    ]
    (whole,) = [whole for word in words for whole in epochs.enter(word)]
    assert (whole.seconds, whole.test_seconds) == (1.0 - test_s, test_s)
