"""What has been told of each epoch, and when an epoch is whole. No I/O, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from dni_async.wire.messages import BoundaryEpoch, EpochLoss, EpochTrained, Evaluated

__all__ = ["EpochMessage", "OpenEpochs", "WholeEpoch"]

EpochMessage = EpochTrained | EpochLoss | BoundaryEpoch | Evaluated


@dataclass(frozen=True, slots=True)
class WholeEpoch:
    """All that was told of an epoch, as EpochResult has it.

    A loss of no samples is None. boundaries: by stage, those that compared any gradients.
    """

    epoch: int
    seconds: float
    train_loss: float | None
    test_loss: float | None
    test_metrics: dict[str, float]
    num_samples: int
    num_tested: int
    boundaries: tuple[BoundaryEpoch, ...]


@dataclass(slots=True)
class _Parts:
    trained: EpochTrained | None = None
    loss: EpochLoss | None = None
    evaluated: Evaluated | None = None
    boundaries: dict[int, BoundaryEpoch] = field(default_factory=dict)


class OpenEpochs:
    """The epochs of a run of num_stages stages that are not whole yet.

    Workers speak on connections of their own, so their messages come in any order. An epoch is
    whole with the source's EpochTrained, the head's EpochLoss and Evaluated, and a BoundaryEpoch
    of every stage below the head that can still tell: one that tells of a later epoch has been
    replaced in between, and what its predecessor would have told is lost. A worker that was
    replaced may tell what its predecessor has told; the first word stands.
    """

    def __init__(self, num_stages: int) -> None:
        self._parts: dict[int, _Parts] = {}
        self._ripe: set[int] = set()  # those that lack no more than boundaries
        self._closed: set[int] = set()
        self._told = dict.fromkeys(range(num_stages - 1), 0)  # the last epoch, by stage

    def enter(self, message: EpochMessage) -> list[WholeEpoch]:
        """Note what message tells; the epochs that are whole with it, each once, in order."""
        if isinstance(message, BoundaryEpoch):
            if message.stage not in self._told:
                return []
            self._told[message.stage] = max(self._told[message.stage], message.epoch)
        if message.epoch not in self._closed:
            parts = self._parts.setdefault(message.epoch, _Parts())
            match message:  # the first word stands
                case EpochTrained():
                    parts.trained = parts.trained or message
                case EpochLoss():
                    parts.loss = parts.loss or message
                case Evaluated():
                    parts.evaluated = parts.evaluated or message
                case BoundaryEpoch():
                    parts.boundaries.setdefault(message.stage, message)
            if parts.trained and parts.loss and parts.evaluated:
                self._ripe.add(message.epoch)
        return self._take(self._has_all_boundaries)

    def rest(self) -> list[WholeEpoch]:
        """Nobody tells anything any more: epochs that lack no more than boundaries."""
        return self._take(lambda epoch: True)

    def _take(self, may_close: Callable[[int], bool]) -> list[WholeEpoch]:
        found = []
        for epoch in sorted(self._ripe):
            whole = _whole(epoch, self._parts[epoch])
            if whole is None or not may_close(epoch):
                continue
            del self._parts[epoch]
            self._ripe.discard(epoch)
            self._closed.add(epoch)
            found.append(whole)
        return found

    def _has_all_boundaries(self, epoch: int) -> bool:
        here = self._parts[epoch].boundaries
        return all(stage in here or last > epoch for stage, last in self._told.items())


def _whole(epoch: int, parts: _Parts) -> WholeEpoch | None:
    trained, loss, evaluated = parts.trained, parts.loss, parts.evaluated
    if trained is None or loss is None or evaluated is None:
        return None
    boundaries = (each for _, each in sorted(parts.boundaries.items()) if each.num_gradients)
    return WholeEpoch(
        epoch=epoch,
        seconds=trained.seconds,
        train_loss=None if math.isnan(loss.loss) else loss.loss,
        test_loss=evaluated.loss if evaluated.num_samples else None,
        test_metrics=evaluated.metrics,
        num_samples=loss.num_samples,
        num_tested=evaluated.num_samples,
        boundaries=tuple(boundaries),
    )
