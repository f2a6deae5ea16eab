"""The tables of what was measured with a core for every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmarks.harness.facts import Spread
from benchmarks.harness.report import table, verdict
from benchmarks.rivals.held import OURS
from benchmarks.workloads.cores.rounds import SLACK, Cell

__all__ = ["print_cell", "print_far"]


def print_cell(console: Console, cell: Cell) -> None:
    """The arms one below the other, with what they learnt and how long that took."""
    case = cell.case
    title = f"{case.name} on {case.num_cores} cores, each {cell.share:.2f} of one here"
    made = table(
        title, ["arm", "samples/s", "range", "machine idle", "dni is", "s to quality", "accuracy"]
    )
    for arm in cell.arms:
        rate = cell.rate(arm)
        made.add_row(
            arm,
            f"{rate.median:,.0f}",
            f"{rate.least:,.0f}-{rate.most:,.0f}",
            _idle(cell, arm),
            _verdict(cell, arm),
            *_learnt(cell, arm),
        )
    for arm in cell.failed:
        made.add_row(arm, "failed")
    console.print(made)
    if cell.learnt:
        console.print(
            f"quality: what backpropagation comes to in the end, less {SLACK:.1%}; seconds of "
            f"training by the rates above, {len(cell.learnt[0]['dni'])} epochs",
            highlight=False,
            soft_wrap=True,
        )
    if cell.foretold:
        told = cell.foretold
        console.print(
            f"simulated {told['samples_per_second']:,.0f} samples/s, {told['error']:+.0%}; with "
            f"{told['beyond_s'] * 1e3:.2f} ms a batch that its parts do not show",
            highlight=False,
        )


def _idle(cell: Cell, arm: str) -> str:
    shares = [busy for each in cell.rounds if (busy := each[arm]["busy_share"]) is not None]
    return f"{1 - max(shares):.0%}" if shares else "-"


def _verdict(cell: Cell, arm: str) -> str:
    if arm == OURS or OURS not in cell.arms:
        return ""
    factor = cell.over(arm)
    if factor is None:
        return verdict(Spread.of([1.0]), cell.why_not(arm))
    return verdict(factor, None)


def _learnt(cell: Cell, arm: str) -> tuple[str, str]:
    """Seconds and accuracy, of the middle seed."""
    if not cell.learnt:
        return "", ""
    seconds, accuracies = cell.seconds(arm), cell.accuracy(arm)
    reached = [each for each in seconds if each is not None]
    said = f"{Spread.of(reached).median:.1f}" if reached else "not reached"
    if len(reached) < len(seconds):
        said += f" {len(reached)}/{len(seconds)}"
    return said, f"{Spread.of(accuracies).median:.2%}"


def print_far(console: Console, far: Sequence[Mapping[str, Any]]) -> None:
    """Carried on by simulation."""
    if not far:
        return
    made = table(
        "simulated, a layer a core: ours over one core, and what sets the pace",
        ["cores", "anchors", "dni over one core", "pace"],
    )
    for point in far:
        made.add_row(
            str(point["cores"]),
            f"1 in {point['anchor_every']}",
            f"{point['dni_over_one_core']:.1f}x",
            point["bound"],
        )
    console.print(made)
