"""Findings for people and for programs."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from dni_async.launcher.doctor.finding import Finding
from dni_async.launcher.doctor.link.findings import Figures
from dni_async.launcher.doctor.show import show, to_json

LOAD = Finding(
    "load", "doubtful", "3.1 processes [red]want[/] 2 cores", "wait, " * 30 + "or end them"
)


def shown(finding: Finding, *, width: int, is_terminal: bool) -> list[str]:
    told = io.StringIO()
    console = Console(file=told, width=width, force_terminal=is_terminal, color_system=None)
    show(console, finding)
    return told.getvalue().splitlines()


def test_a_line_each_where_nobody_looks() -> None:
    first, second = shown(LOAD, width=40, is_terminal=False)
    assert first == "doubtful  load: 3.1 processes [red]want[/] 2 cores"
    assert second == f"          remedy: {LOAD.remedy}"
    good = shown(Finding("tcp", "good", "fine"), width=40, is_terminal=False)
    assert good == ["good      tcp: fine"]


@pytest.mark.parametrize("width", [24, 40, 80, 200])
def test_a_terminal_is_not_overrun(width: int) -> None:
    lines = shown(LOAD, width=width, is_terminal=True)
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("doubtful  load: 3.1")
    assert all(line.startswith(" " * 10) for line in lines[1:])
    words = " ".join(" ".join(lines).split())
    assert "[red]want[/]" in words
    assert words.endswith("or end them")


def test_for_programs() -> None:
    figures = Figures((0.1, 0.3), -2.0, 0.05, up=1e6, down=None)
    told = to_json([LOAD], {"tcp://b:1": figures})
    assert json.loads(json.dumps(told)) == {
        "schema": 1,
        "passed": True,
        "findings": [
            {"name": "load", "verdict": "doubtful", "what": LOAD.what, "remedy": LOAD.remedy}
        ],
        "links": {
            "tcp://b:1": {
                "round_trips": 2,
                "round_trip_median_seconds": 0.1,
                "round_trip_p99_seconds": 0.3,
                "up_bytes_per_second": 1e6,
                "down_bytes_per_second": None,
                "clock_offset_seconds": -2.0,
                "clock_offset_error_seconds": 0.05,
            }
        },
    }
