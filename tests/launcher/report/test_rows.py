"""Parts of a report by which runs are judged."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.launcher.report.rows import chosen_metric, metrics_of


@pytest.mark.parametrize(
    ("epoch", "metrics"),
    [
        ({"test_metrics": {"accuracy": 0.5}, "test_loss": 2.0}, {"accuracy": 0.5, "loss": 2.0}),
        ({"test_metrics": {"mae": 1.5}, "test_loss": None}, {"mae": 1.5}),
        ({"test_metrics": {}, "test_loss": None}, {}),
    ],
)
def test_what_was_measured_goes_by_its_name(
    epoch: dict[str, Any], metrics: dict[str, float]
) -> None:
    assert metrics_of(epoch) == metrics


def test_the_chosen_metric_is_that_of_the_first_run() -> None:
    assert chosen_metric([{"metric": "mae"}, {"metric": "r2"}]) == "mae"
    assert chosen_metric([]) == "loss"
