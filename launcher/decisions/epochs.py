"""What has been told of each epoch, and when an epoch is whole. No I/O, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dni_async.decisions.words import EpochWord, speaker
from dni_async.wire.messages import BoundaryEpoch, EpochLoss, EpochTrained, Evaluated

__all__ = ["OpenEpochs", "WholeEpoch", "seconds_of_test"]

_Word = tuple[int, type[EpochWord]]  # of an epoch: who tells it, and what


@dataclass(frozen=True, slots=True)
class WholeEpoch:
    """All that was told of an epoch, as EpochResult has it.

    A loss of no samples is None. boundaries: by stage, those that compared any gradients.
    seconds: without test_seconds, which a test took that ran in them.
    """

    epoch: int
    seconds: float
    train_loss: float | None
    test_loss: float | None
    test_metrics: dict[str, float]
    num_samples: int
    num_tested: int
    boundaries: tuple[BoundaryEpoch, ...]
    test_seconds: float = 0.0


class OpenEpochs:
    """The epochs of a run of num_stages stages that are not whole yet; they become so in order.

    Workers speak on connections of their own, so their words come in any order, but each one's in
    the order in which it said them, and what its predecessor said before those. An epoch is whole
    with the source's EpochTrained, the head's EpochLoss and Evaluated, and a BoundaryEpoch of every
    stage below the head, as far as they can still come: a stage that tells of later has lost what
    it has not told. A word that is told again changes nothing; the first one stands.

    next_of: which epoch is tested after this one, None where no more is; last: behind which the run
    begins. seconds_of: how long an epoch took whose time was lost. cores: that all stages share; 0
    where that is not known.
    """

    def __init__(
        self,
        num_stages: int,
        *,
        next_of: Callable[[int], int | None] = lambda epoch: epoch + 1,
        last: int = 0,
        seconds_of: Callable[[int], float] = lambda _: 0.0,
        cores: int = 0,
    ) -> None:
        self.last = last  # the last one that is whole
        self._num_stages = num_stages
        self._next_of = next_of
        self._seconds_of = seconds_of
        self._cores = cores
        self._told: dict[int, dict[_Word, EpochWord]] = {}  # by epoch
        self._come = dict.fromkeys(range(num_stages), 0)  # how far each stage's words have come
        self._awaited: list[_Word] = [
            (0, EpochTrained),
            (num_stages - 1, EpochLoss),
            (num_stages - 1, Evaluated),
            *((stage, BoundaryEpoch) for stage in range(num_stages - 1)),
        ]

    def is_told(self, word: EpochWord) -> bool:
        """Whether one of that kind, stage and epoch has been heard, or comes too late."""
        key = (speaker(word, self._num_stages), type(word))
        return word.epoch <= self.last or key in self._told.get(word.epoch, {})

    def enter(self, word: EpochWord) -> list[WholeEpoch]:
        """Note what word tells; the epochs that are whole with it, each once, in order."""
        key = (speaker(word, self._num_stages), type(word))
        is_due = key in self._awaited and self._next_of(word.epoch - 1) == word.epoch
        if not is_due or self.is_told(word):
            return []
        self._told.setdefault(word.epoch, {})[key] = word
        self._come[key[0]] = max(self._come[key[0]], _place(word.epoch, type(word)))
        return list(self._close(lambda epoch: not self._missing(epoch)))

    def missing(self, up_to: int) -> Iterator[tuple[int, int]]:
        """The stages whose words of epochs up to there may still come, each with an epoch."""
        epoch = self._next_of(self.last)
        while epoch is not None and epoch <= up_to:
            for stage in sorted({stage for stage, _ in self._missing(epoch)}):
                yield stage, epoch
            epoch = self._next_of(epoch)

    def rest(self, passed: int = 0) -> list[WholeEpoch]:
        """Nobody tells anything any more: the epochs up to passed, which are over, and those behind
        them that lack no more than boundaries.
        """
        return list(self._close(lambda epoch: epoch <= passed or self._has_figures(epoch)))

    def _close(self, may_close: Callable[[int], bool]) -> Iterator[WholeEpoch]:
        epoch = self._next_of(self.last)
        while epoch is not None and may_close(epoch):
            self.last = epoch
            yield self._whole(epoch)
            epoch = self._next_of(epoch)

    def _missing(self, epoch: int) -> list[_Word]:
        """What is not told of it, and not lost."""
        here = self._told.get(epoch, {})
        return [
            (stage, kind)
            for stage, kind in self._awaited
            if (stage, kind) not in here and self._come[stage] <= _place(epoch, kind)
        ]

    def _has_figures(self, epoch: int) -> bool:
        here = self._told.get(epoch, {})
        return all(key in here for key in self._awaited if key[1] is not BoundaryEpoch)

    def _whole(self, epoch: int) -> WholeEpoch:
        told, head = self._told.pop(epoch, {}), self._num_stages - 1
        trained, loss = told.get((0, EpochTrained)), told.get((head, EpochLoss))
        tested = told.get((head, Evaluated))
        if not isinstance(trained, EpochTrained):
            trained = EpochTrained("", epoch, self._seconds_of(epoch))
        if not isinstance(loss, EpochLoss):
            loss = EpochLoss("", epoch, math.nan, 0)
        if not isinstance(tested, Evaluated):
            tested = Evaluated("", epoch, math.nan, {}, 0)
        boundaries = (word for word in told.values() if isinstance(word, BoundaryEpoch))
        compared = (word for word in boundaries if word.num_gradients)
        test_s = seconds_of_test(told.values(), self._cores)
        test_s = min(test_s, trained.seconds * _most_of_test(loss.num_samples, tested.num_samples))
        return WholeEpoch(
            epoch=epoch,
            seconds=trained.seconds - test_s,
            test_seconds=test_s,
            train_loss=None if math.isnan(loss.loss) else loss.loss,
            test_loss=tested.loss if tested.num_samples else None,
            test_metrics=tested.metrics,
            num_samples=loss.num_samples,
            num_tested=tested.num_samples,
            boundaries=tuple(sorted(compared, key=lambda word: word.stage)),
        )


def seconds_of_test(told: Iterable[EpochWord], cores: int) -> float:
    """The least time that a test took which ran while stages trained, by what words tell of it.

    No stage can do its part in less than the processor time of that, nor all of them theirs in less
    than the sum over the cores. cores: see OpenEpochs.
    """
    tested = [word.tested_s for word in told if isinstance(word, BoundaryEpoch | EpochLoss)]
    shared_s = sum(tested) / cores if cores else 0.0
    return max([shared_s, *tested])


def _most_of_test(num_trained: int, num_tested: int) -> float:
    """The largest share of an epoch's time that its test can have had.

    A sample that is tested takes no longer than one that is trained on as well. Where the source's
    time ends early, as in epochs of a few milliseconds, the test would seem to have had it all.
    """
    return num_tested / (num_trained + num_tested) if num_trained and num_tested else 1.0


def _place(epoch: int, kind: type[EpochWord]) -> int:
    """Where among its stage's words one stands: the test of an epoch is behind its training."""
    return 2 * epoch + (kind is Evaluated)
