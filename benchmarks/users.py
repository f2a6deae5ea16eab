"""What users train, in four workers beside plain torch: ``python -m benchmarks.users``.

Networks, losses and data that were not made for this project, each trained by the loop of every
tutorial in one process, and by ``dni_async.train`` in four, from the same weights, on the same
batches, for as many epochs. A row that is further behind than it may be is printed as MISSED.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from rich.console import Console

from benchmarks.harness.facts import Observation
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    print_facts,
    table,
    write,
)
from benchmarks.workloads.users.pair import measure
from benchmarks.workloads.users.row import Measured, Row, Scale, behind, verdict
from benchmarks.workloads.users.rows import ROWS
from dni_async.errors import ConfigError

__all__ = ["main"]

SEEDS = 3


@dataclass(slots=True)
class Outcome:
    """A row and what came of it, seed by seed."""

    row: Row
    seeds: list[Measured] = field(default_factory=list)

    @property
    def said(self) -> str:
        """met, MISSED and why, or skipped and why; empty before the first seed."""
        if self.row.lacking:
            return f"skipped: {self.row.lacking}"
        return verdict(self.row.asked, self.seeds) if self.seeds else ""

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        bound = self.row.asked.bound
        return {
            "name": self.row.name,
            "figure": self.row.asked.figure,
            "bound": None if bound is None else asdict(bound),
            "verdict": self.said,
            "seeds": [asdict(each) for each in self.seeds],
        }


@click.command("users")
@benchmark_options
@click.option(
    "--rows", "names", help="Names or parts of names, between semicolons.  [default: all]"
)
@click.option("--seeds", type=click.IntRange(min=1), help="[default: 3; with --quick 1]")
@click.option("--full", is_flag=True, help="All ten million samples of the stream: half an hour.")
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    names: str | None,
    seeds: int | None,
    full: bool,
) -> None:
    """Train what users train, in four workers and by plain torch; --repeats is --seeds."""
    measuring = Measuring.of(json_path, seeds or repeats or (None if quick else SEEDS), quick)
    console, observation = make_console(), Observation()
    outcomes = [Outcome(_unbound(row) if quick else row) for row in _chosen(names)]
    asked = {"repeats": measuring.repeats, "quick": quick, "full": full}
    for seed in range(measuring.repeats):
        scale = Scale(seed, is_quick=quick, is_full=full)
        for outcome in outcomes:
            if not outcome.row.lacking:
                outcome.seeds.append(measure(outcome.row.work(scale), outcome.row.asked, scale))
            console.print(f"seed {seed}, {outcome.row.name}: {outcome.said}", highlight=False)
            results = {"rows": [each.to_dict() for each in outcomes]}
            write(measuring.json, "users", observation.facts(), asked, results)
    _print(console, outcomes)
    print_facts(console, observation.facts())


def _chosen(names: str | None) -> list[Row]:
    if names is None:
        return list(ROWS)
    parts = [part.strip() for part in names.split(";")]
    chosen = [row for row in ROWS if any(part in row.name for part in parts)]
    if not chosen:
        raise ConfigError(f"rows: none is called {names!r}; {'; '.join(row.name for row in ROWS)}")
    return chosen


def _unbound(row: Row) -> Row:
    """The same row, asked only to run: so little training says nothing of what is learnt."""
    return replace(row, asked=replace(row.asked, bound=None))


def _print(console: Console, outcomes: Sequence[Outcome]) -> None:
    made = table(
        "four workers beside plain torch, means over seeds, of the test samples",
        [
            "row",
            "figure",
            "ours",
            "torch",
            "behind",
            "may be",
            "loss",
            "torch's",
            "s",
            "torch's",
            "lockstep",
        ],
    )
    for outcome in outcomes:
        made.add_row(outcome.row.name, outcome.row.asked.figure, *_cells(outcome))
    console.print(made)
    for outcome in outcomes:
        console.print(f"{outcome.row.name}: {outcome.said}", highlight=False, markup=False)
        for refused in {each.refused for each in outcome.seeds if each.refused}:
            console.print(f"    {refused}", highlight=False, markup=False)


def _cells(outcome: Outcome) -> list[str]:
    """Figures, difference, bound, losses, seconds, lockstep; empty where there are none."""
    seeds, bound = outcome.seeds, outcome.row.asked.bound
    is_whole = bool(seeds) and all(each.ours is not None for each in seeds)
    return [
        _mean([each.ours for each in seeds], "{:.4f}"),
        _mean([each.plain for each in seeds], "{:.4f}"),
        f"{100 * behind(bound, seeds):+.2f}" if bound and is_whole else "",
        bound.said if bound else "",
        _mean([each.ours_loss for each in seeds], "{:.3f}"),
        _mean([each.plain_loss for each in seeds], "{:.3f}"),
        _mean([each.ours_seconds for each in seeds], "{:.1f}"),
        _mean([each.plain_seconds for each in seeds], "{:.1f}"),
        *({True: "equal", False: "DIFFERS", None: ""}[each.is_exact] for each in seeds[:1]),
    ]


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return form.format(fmean(known)) if known else ""


if __name__ == "__main__":
    enter(main)
