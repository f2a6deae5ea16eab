"""What has been told of each epoch, and when an epoch is whole. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from dni_async.messages import BoundaryEpoch, EpochLoss, EpochTrained, Evaluated
from launcher.results import EpochResult

__all__ = ["EpochMessage", "OpenEpochs", "WholeEpoch"]

EpochMessage = EpochTrained | EpochLoss | BoundaryEpoch | Evaluated


@dataclass(frozen=True, slots=True)
class WholeEpoch:
    """All that was told of an epoch. boundaries: by stage, those that compared any gradients."""

    result: EpochResult
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
    of every stage below the head. A worker that was replaced may tell what its predecessor has
    told; the first word stands.
    """

    def __init__(self, num_stages: int) -> None:
        self._num_boundaries = num_stages - 1
        self._parts: dict[int, _Parts] = {}
        self._closed: set[int] = set()

    def enter(self, message: EpochMessage) -> WholeEpoch | None:
        """Note what message tells; the epoch that is whole with it, once."""
        if message.epoch in self._closed:
            return None
        parts = self._parts.setdefault(message.epoch, _Parts())
        match message:
            case EpochTrained():
                parts.trained = parts.trained or message
            case EpochLoss():
                parts.loss = parts.loss or message
            case Evaluated():
                parts.evaluated = parts.evaluated or message
            case BoundaryEpoch():
                parts.boundaries.setdefault(message.stage, message)
        trained, loss, evaluated = parts.trained, parts.loss, parts.evaluated
        if trained is None or loss is None or evaluated is None:
            return None
        if len(parts.boundaries) < self._num_boundaries:
            return None
        del self._parts[message.epoch]
        self._closed.add(message.epoch)
        return WholeEpoch(
            EpochResult(
                epoch=message.epoch,
                seconds=trained.seconds,
                train_loss=loss.loss,
                test_accuracy=evaluated.accuracy,
                test_loss=evaluated.loss,
                num_samples=loss.num_samples,
                num_test_labels=evaluated.num_samples,
            ),
            tuple(told for _, told in sorted(parts.boundaries.items()) if told.num_gradients),
        )
