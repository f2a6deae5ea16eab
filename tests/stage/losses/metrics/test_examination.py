"""A test adds up over its batches, and the next one begins with nothing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.losses.metrics.catalog import make_metrics
from dni_async.stage.losses.metrics.examination import Examination, Measured


def test_a_test_is_of_all_its_batches() -> None:
    examination = Examination(make_loss("cross-entropy", (3,)), make_metrics(["accuracy", "iou"]))
    logits, labels = torch.randn(10, 4, 3), torch.arange(40).reshape(10, 4) % 3
    for cut in (slice(0, 7), slice(7, 10)):
        examination.add(logits[cut], labels[cut])
    measured = examination.take()
    assert measured.num_samples == 10
    loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).item()
    assert measured.loss == pytest.approx(loss)
    assert measured.metrics["accuracy"] == int((logits.argmax(2) == labels).sum()) / 40
    assert list(measured.metrics) == ["accuracy", "iou"]
    assert examination.take() == Measured(0, None, {})
