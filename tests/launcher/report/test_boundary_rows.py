"""The boundaries of a report as rows, from the first epoch to the last."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.launcher.report.rows import boundary_rows
from tests.launcher.reports import boundary

ROWS: dict[str, tuple[dict[str, Any], list[list[str]]]] = {
    "a report from before": ({}, []),
    "a rule without synthetic gradients": ({"boundaries": []}, []),
    "one epoch": (
        {"boundaries": [boundary(2, 0.5)]},
        [["2", "1,000", "0.50", "1.25", "0.50", "", "3", "19"]],
    ),
    "several epochs": (
        {"boundaries": [boundary(0, -0.1, 0.9, 0.25), boundary(1, 0.5, 0.504)]},
        [
            ["0", "3,000", "-0.10 to 0.25", "1.25", "0.50 to 1.50", "", "3", "19"],
            ["1", "2,000", "0.50", "1.25", "0.50 to 1.00", "", "3", "19"],
        ],
    ),
}


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ([0.5, 1.0], "yes"),
        ([0.0, 0.5], "at times"),
        ([1.0, 0.0], "no longer"),
        ([0.0, 0.0], "no"),
    ],
)
def test_whether_a_boundary_corrects_itself(shares: list[float], word: str) -> None:
    told = boundary(0, *shares)
    for epoch, share in zip(told["epochs"], shares, strict=True):
        epoch["corrected"] = share
    ((*_, said, _, _),) = boundary_rows({"boundaries": [told]})
    assert said == word


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_of(name: str) -> None:
    run, rows = ROWS[name]
    assert boundary_rows(run) == rows
