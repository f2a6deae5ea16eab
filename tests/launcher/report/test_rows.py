"""Parts of a report by which runs are judged."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.launcher.report.rows import chosen_metric, metrics_of, move_lines


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


def test_a_move_is_told_with_what_it_should_bring_and_what_it_brought() -> None:
    move = {
        "before": [4, 4],
        "after": [1, 7],
        "at_seconds": 12.34,
        "before_seconds": 0.016,
        "foretold_seconds": 0.005,
        "stood_still_seconds": 0.25,
        "brought_seconds": 0.0052,
    }
    asked = dict.fromkeys([*move][3:]) | {"before": [4, 4], "after": [5, 3], "at_seconds": 1.0}
    said = (
        "12.3 s after the start stages held 1+7 layers, not 4+4; the line stood still for 0.25 s; "
        "the slowest, 16.00 ms a batch, should take 5.00: "
    )
    assert move_lines({"moves": [move, {**move, "brought_seconds": None}, asked]}) == [
        said + "it took 5.20",
        said + "it was not measured",
        "1.0 s after the start stages held 5+3 layers, not 4+4",
    ]
    assert move_lines({}) == []
