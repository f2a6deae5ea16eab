"""Findings as people read them: wrapped in a terminal, a line each elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dni_async.launcher.doctor.finding import Finding, is_passed
from dni_async.launcher.doctor.link.findings import Figures
from dni_async.wire.foreign_text import legible

__all__ = ["show", "to_json"]

SCHEMA = 1
STYLES = {"good": "green", "doubtful": "yellow", "bad": "bold red"}
VERDICT_WIDTH = 8


def show(console: Console, finding: Finding) -> None:
    """One finding, and below it the remedy."""
    verdict = Text(finding.verdict, STYLES[finding.verdict])
    rows = [(verdict, Text.assemble((legible(finding.name), "bold"), f": {legible(finding.what)}"))]
    if finding.remedy:
        rows.append((Text(""), Text(f"remedy: {legible(finding.remedy)}")))
    if console.is_terminal:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=VERDICT_WIDTH)
        grid.add_column(overflow="fold")
        for row in rows:
            grid.add_row(*row)
        console.print(grid)
        return
    for left, right in rows:
        left.pad_right(VERDICT_WIDTH + 2 - len(left))
        console.print(left + right, soft_wrap=True)


def to_json(findings: list[Finding], links: dict[str, Figures]) -> dict[str, Any]:
    """All of it, for programs. links: what was measured, by the peer's address."""
    return {
        "schema": SCHEMA,
        "passed": is_passed(findings),
        "findings": [asdict(finding) for finding in findings],
        "links": {peer: _figures(figures) for peer, figures in links.items()},
    }


def _figures(figures: Figures) -> dict[str, float | int | None]:
    """Seconds, and bytes per second."""
    return {
        "round_trips": len(figures.round_trips_s),
        "round_trip_median_seconds": figures.median_s,
        "round_trip_p99_seconds": figures.p99_s,
        "up_bytes_per_second": figures.up,
        "down_bytes_per_second": figures.down,
        "clock_offset_seconds": figures.offset_s,
        "clock_offset_error_seconds": figures.offset_error_s,
    }
