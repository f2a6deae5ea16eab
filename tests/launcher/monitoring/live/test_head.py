"""The bar of a run, and the facts below it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from dni_async.launcher.monitoring.live.head import Head, clock

TOLD = {
    "phase": "baseline-all-threads",
    "share": 0.5,
    "left_s": 754.2,
    "epoch": 12,
    "epochs": 20,
    "batch": 1234,
    "batches": 4000,
    "testing": None,
    "samples_per_second": 123456.7,
    "metric": "accuracy",
    "value": 0.975,
    "tested": 11,
    "num_restarts": 2,
    "num_moves": 1,
}
FACTS = (
    "epoch 12 of 20  batch 1,234 of 4,000  123,457 samples/s  accuracy 97.50% after epoch 11  "
    "2 restarts  1 move of layers  run 3 of 3"
)


def drawn(width: int, *, ends_early: bool = False, **changes: Any) -> list[str]:
    """Line by line."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    head = Head({**TOLD, **changes}, ends_early=ends_early, this_run=3, num_runs=3)
    console.print(head)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert head.height(width) == len(lines)
    return lines


@pytest.mark.parametrize("width", [60, 80, 120])
def test_all_is_said_in_any_width(width: int) -> None:
    bar, *facts = drawn(width)
    assert bar.startswith("baseline-all-threads ")
    assert bar.endswith("50% 12:34 left")
    assert max(map(len, [bar, *facts])) <= width
    assert "  ".join(facts) == FACTS
    assert drawn(width, ends_early=True)[0].endswith("at most 12:34 left")


def test_what_is_not_known_is_not_said() -> None:
    known = {"num_restarts": 0, "num_moves": 0, "testing": 0, "share": 0.0}
    lines = drawn(80, left_s=None, value=None, samples_per_second=None, **known)
    assert lines[0].endswith("0%")
    assert lines[1:] == ["epoch 12 of 20  run 3 of 3"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03"), (10**6, "11 days")],
)
def test_time_is_told_as_people_read_it(seconds: float, said: str) -> None:
    assert clock(seconds) == said
