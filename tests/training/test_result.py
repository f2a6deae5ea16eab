"""What came of a run: the last figures, outputs, and what a notebook shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from dni_async import ConfigError, TrainingResult


def result_of(shape: list[int]) -> TrainingResult:
    """Of a network that doubles, trained in batches of 2."""
    network = nn.Sequential(nn.Linear(3, 3, bias=False)).eval()
    network[0].weight.data = 2 * network[0].weight.data.new_tensor(np.eye(3))
    epoch = {"epoch": 2, "train_loss": 0.25, "test_loss": 0.5, "test_metrics": {"accuracy": 0.9}}
    report = {
        "config": {"batch_size": 2, "dtype": "fp32"},
        "data": {"input_shape": shape, "holds_ids": False},
        "runs": [{"epochs": [{**epoch, "train_loss": 0.5}, epoch]}],
    }
    return TrainingResult(model=network, report=report, run_dir=None, accuracy=0.9)


def test_a_result_predicts_and_tells_its_last_figures() -> None:
    result = result_of([3])
    assert result.metrics == {"train_loss": 0.25, "test_loss": 0.5, "test_accuracy": 0.9}
    x = np.arange(15).reshape(5, 3)
    np.testing.assert_array_equal(result.predict(x), 2.0 * x)
    with pytest.raises(ConfigError, match=re.escape("x: has shape [3], as one sample has; give")):
        result.predict(x[0])


def test_of_a_stopped_run_the_figures_are_of_the_model_that_came_back() -> None:
    whole = result_of([3])
    stopped = {"reason": "enough", "test_loss": 0.375, "test_metrics": {"accuracy": 0.8}}
    (run,) = whole.report["runs"]
    result = replace(whole, report={**whole.report, "runs": [{**run, "stopped": stopped}]})
    assert result.metrics == {"train_loss": 0.25, "test_loss": 0.375, "test_accuracy": 0.8}
    nothing = {**stopped, "test_loss": None, "test_metrics": {}}
    early = replace(whole, report={"runs": [{"epochs": [], "stopped": nothing}]})
    assert (early.metrics, repr(early)) == ({}, "TrainingResult(epochs=0, stopped='enough')")


def test_a_result_is_short_to_read() -> None:
    figures = "train_loss=0.25, test_loss=0.5, test_accuracy=0.9, epochs=2"
    assert repr(result_of([3])) == f"TrainingResult({figures})"
    kept = replace(result_of([3]), run_dir=Path("runs/mine"))
    assert str(kept) == f"TrainingResult({figures}, run_dir='runs/mine')"


def test_a_notebook_shows_what_it_was_given_to_show() -> None:
    assert result_of([3])._repr_html_() is None
    assert replace(result_of([3]), _html=lambda: "<p>")._repr_html_() == "<p>"
