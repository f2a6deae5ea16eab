"""Metrics of class labels are of all samples together, however these are cut into batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score, log_loss, top_k_accuracy_score

from dni_async import ConfigError
from dni_async.stage.losses.metrics.catalog import make_metrics
from dni_async.stage.losses.metrics.interface import Metric

CLASSES = 4


def value_of(metric: Metric, outputs: torch.Tensor, targets: torch.Tensor, cut: int = 3) -> float:
    """Of two batches."""
    parts = [
        metric.sums(outputs[:cut], targets[:cut]),
        metric.sums(outputs[cut:], targets[cut:]),
    ]
    return metric.value([one + other for one, other in zip(*parts, strict=True)])


def drawn(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with the classes last, and labels."""
    draw = torch.Generator().manual_seed(len(shape))
    logits = torch.randn(*shape, CLASSES, generator=draw)
    return logits, torch.randint(0, CLASSES, shape, generator=draw)


def expected(name: str, logits: torch.Tensor, labels: torch.Tensor) -> float:
    """By scikit-learn."""
    logits, true = logits.flatten(0, -2), labels.flatten()
    classes = list(range(CLASSES))
    if name == "accuracy":
        return float(accuracy_score(true, logits.argmax(1)))
    if name == "top-2":
        return float(top_k_accuracy_score(true, logits, k=2, labels=classes))
    if name == "perplexity":
        return math.exp(log_loss(true, logits.double().softmax(1), labels=classes))
    return float(jaccard_score(true, logits.argmax(1), average="macro"))


@pytest.mark.parametrize("name", ["accuracy", "top-2", "perplexity", "iou"])
@pytest.mark.parametrize("shape", [(9,), (5, 6), (6, 3, 2)])
def test_values_are_those_of_scikit_learn(name: str, shape: Sequence[int]) -> None:
    logits, labels = drawn(*shape)
    outputs = logits.movedim(-1, 1) if len(shape) == 3 else logits
    (metric,) = make_metrics([name]).values()
    found = value_of(metric, outputs, labels)
    assert found == pytest.approx(expected(name, logits, labels), rel=1e-5)


@pytest.mark.parametrize("name", ["accuracy", "top-2", "perplexity", "iou"])
@pytest.mark.parametrize("ignored", [-100, -1, 3])
def test_labels_to_ignore_count_nowhere(name: str, ignored: int) -> None:
    logits, labels = drawn(12)
    labels = labels.clamp(max=2)
    padded = torch.cat((labels, torch.full((4,), ignored)))
    more = torch.cat((logits, 9 * torch.eye(CLASSES)))
    (metric,) = make_metrics([name], ignore_index=ignored).values()
    assert value_of(metric, more, padded) == value_of(metric, logits, labels)
    assert math.isnan(metric.value(metric.sums(more[12:], padded[12:])))


def test_classes_that_never_occur_are_no_part_of_the_mean() -> None:
    (iou,) = make_metrics(["iou"]).values()
    logits = torch.eye(CLASSES)[[0, 1, 1, 0]]
    assert value_of(iou, logits, torch.tensor([0, 1, 1, 1])) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_channels_with_masks_of_their_own_are_classes() -> None:
    (iou,) = make_metrics(["iou"]).values()
    outputs = torch.tensor([[[1.0, -1.0], [3.0, 3.0]], [[2.0, 2.0], [-1.0, 5.0]]])
    targets = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]])
    assert value_of(iou, outputs, targets, cut=1) == pytest.approx((2 / 3 + 2 / 3) / 2)


@pytest.mark.parametrize("name", ["accuracy", "top-2", "perplexity", "iou"])
def test_what_is_no_class_label_is_refused(name: str) -> None:
    (metric,) = make_metrics([name]).values()
    for outputs, targets in (
        (torch.zeros(3, 2), torch.zeros(3)),
        (torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64)),
        (torch.zeros(3), torch.zeros(3, 2, dtype=torch.int64)),
    ):
        with pytest.raises(ConfigError, match=f"metrics: {name} is of class labels"):
            metric.sums(outputs, targets)


def test_more_than_there_are_classes_cannot_be_the_best() -> None:
    (metric,) = make_metrics(["top-5"]).values()
    with pytest.raises(ConfigError, match="top-5 needs at least 5 classes, but there are 4"):
        metric.sums(*drawn(3))
