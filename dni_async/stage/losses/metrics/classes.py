"""Metrics of class labels: accuracy, top-K, intersection over union, perplexity.

A label that is negative, or the one to ignore, counts nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from dni_async.errors import ConfigError
from dni_async.stage.losses.metrics.interface import Mean

__all__ = ["IGNORED", "Accuracy", "MeanIou", "Perplexity", "TopK"]

IGNORED = -100  # torch's default


class Accuracy(Mean):
    """The share of labels whose class has the largest logit."""

    def __init__(self, ignore_index: int = IGNORED) -> None:
        self._ignore_index = ignore_index

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """Labels that are right, and all."""
        logits, labels = _as_rows("accuracy", outputs, targets)
        counts = _counts(labels, self._ignore_index)
        return _numbers(((logits.argmax(1) == labels) & counts).sum(), counts.sum())


class TopK(Mean):
    """The share of labels whose class has one of the k largest logits."""

    def __init__(self, k: int, ignore_index: int = IGNORED) -> None:
        self._k = k
        self._ignore_index = ignore_index

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """Labels that are right, and all."""
        logits, labels = _as_rows(f"top-{self._k}", outputs, targets)
        if logits.shape[1] < self._k:
            raise ConfigError(
                f"metrics: top-{self._k} needs at least {self._k} classes, but there are "
                f"{logits.shape[1]}"
            )
        counts = _counts(labels, self._ignore_index)
        hits = (logits.topk(self._k, 1).indices == labels.unsqueeze(1)).any(1)
        return _numbers((hits & counts).sum(), counts.sum())


class Perplexity(Mean):
    """exp of the mean cross-entropy of a label, in nats."""

    def __init__(self, ignore_index: int = IGNORED) -> None:
        self._ignore_index = ignore_index

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """Cross-entropy, and labels."""
        logits, labels = _as_rows("perplexity", outputs, targets)
        counts = _counts(labels, self._ignore_index)
        known = labels.where(counts, IGNORED)
        nats = functional.cross_entropy(logits, known, reduction="sum", ignore_index=IGNORED)
        return _numbers(nats, counts.sum())

    def value(self, sums: Sequence[float]) -> float:
        """Infinite where it is beyond float64."""
        try:
            return math.exp(super().value(sums))
        except OverflowError:
            return math.inf


class MeanIou:
    """Intersection over union of predicted and true labels of a class (Jaccard 1912), averaged
    over the classes that occur in either.

    Of outputs in the targets' own shape, each channel (dimension 1) is a class of its own, present
    where its logit is positive.
    """

    def __init__(self, ignore_index: int = IGNORED) -> None:
        self._ignore_index = ignore_index

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor) -> Sequence[float]:
        """The intersection with each class, then each union."""
        if outputs.shape == targets.shape and outputs.ndim > 1:
            predicted, true = (_by_channel(each) for each in (outputs > 0, targets > 0.5))
            both = (predicted & true).sum(1)
            return _numbers(*both, *((predicted | true).sum(1)))
        logits, labels = _as_rows("iou", outputs, targets)
        num_classes = logits.shape[1]
        counts = _counts(labels, self._ignore_index)
        predicted, labels = logits.argmax(1)[counts], labels[counts]
        both = torch.bincount(labels[predicted == labels], minlength=num_classes)
        each = torch.bincount(torch.cat((predicted, labels)), minlength=num_classes)
        return _numbers(*both, *(each - both))

    def value(self, sums: Sequence[float]) -> float:
        """The mean over classes."""
        half = len(sums) // 2
        pairs = zip(sums[:half], sums[half:], strict=True)
        shares = [both / union for both, union in pairs if union]
        return math.fsum(shares) / len(shares) if shares else math.nan


def _as_rows(
    name: str, outputs: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [N, C] float32 and labels [N].

    Of outputs [B, C], [B, T, C] or [B, C, H, W] with labels [B], [B, T] or [B, H, W]. Where both
    readings fit, classes come last in three dimensions, and second in more.
    """
    shape = targets.shape
    is_last = outputs.shape[:-1] == shape
    is_second = (*outputs.shape[:1], *outputs.shape[2:]) == tuple(shape)
    if targets.is_floating_point() or outputs.ndim < 2 or not (is_last or is_second):
        raise ConfigError(
            f"metrics: {name} is of class labels [...] and outputs [..., classes] or [B, classes, "
            f"...], but targets are {targets.dtype} {list(shape)} and outputs {list(outputs.shape)}"
        )
    if is_second and (outputs.ndim > 3 or not is_last):
        outputs = outputs.movedim(1, -1)
    return outputs.flatten(0, -2).float(), targets.flatten()


def _counts(labels: torch.Tensor, ignore_index: int) -> torch.Tensor:
    return (labels >= 0) & (labels != ignore_index)


def _by_channel(mask: torch.Tensor) -> torch.Tensor:
    """[B, C, ...] as [C, N]."""
    return mask.transpose(0, 1).flatten(1)


def _numbers(*scalars: torch.Tensor) -> list[float]:
    """Read from the device at once."""
    numbers: list[float] = torch.stack([each.double() for each in scalars]).tolist()
    return numbers
