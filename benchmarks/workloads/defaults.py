"""Which size a bare ``dni-launch`` should have, on samples that it is not tested on.

``python -m benchmarks.workloads.defaults``. The digits' training part is split in two, another way
with each seed, and whole runs of some sizes are held against backpropagation on all cores. A size
qualifies when it comes as far as backpropagation does; of those the one is best that comes soonest
to equal accuracy, as a multiple of backpropagation's seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import click
import numpy as np
from rich.console import Console

from benchmarks.harness.facts import Observation, Spread
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    print_facts,
    rotated,
    table,
    verdict,
    write,
)
from benchmarks.rivals.arms import train_arm
from dni_async.config.names import ModelTraits
from dni_async.config.run_config import RunConfig
from dni_async.data import load_dataset

__all__ = ["SIZES", "main"]

ARMS = ("dni", "baseline-all-threads")
EQUAL = 0.005  # of the accuracy, behind backpropagation's: what seeds differ by
HELD_OUT = 0.2  # of the training samples
NAMES = ("width", "norm", "batch_size", "epochs", "evaluate_every")
SIZES = (
    (256, "none", 128, 10, 1),  # what it was
    (1024, "none", 128, 10, 1),
    (512, "batch", 128, 10, 1),
    (1024, "batch", 128, 10, 1),
    (1024, "batch", 256, 20, 5),  # that of the demo
)


@dataclass(slots=True)
class Row:
    """A size and, by seed, what came of it. equal: backpropagation's seconds to the worse of both
    best accuracies, over ours.
    """

    settings: dict[str, Any]
    accuracy: list[float] = field(default_factory=list)
    their_accuracy: list[float] = field(default_factory=list)
    speedup: list[float] = field(default_factory=list)
    equal: list[float] = field(default_factory=list)

    @property
    def behind(self) -> float:
        """By how much ours is less accurate after the last epoch, on average."""
        return fmean(self.their_accuracy) - fmean(self.accuracy)

    @property
    def is_default(self) -> bool:
        """Whether a bare run has this size."""
        of_run = RunConfig().to_dict() | {"width": ModelTraits().width}
        return all(of_run[name] == value for name, value in self.settings.items())

    def measure(self, config: RunConfig, arms: Sequence[str]) -> None:
        """One seed, the arms in this order."""
        runs = {arm: train_arm(arm, config).result for arm in arms}
        ours, theirs = (runs[arm] for arm in ARMS)
        self.accuracy.append(ours.test_metrics["accuracy"])
        self.their_accuracy.append(theirs.test_metrics["accuracy"])
        self.speedup.append(ours.samples_per_second / theirs.samples_per_second)
        level = min(ours.outlook().best or 0.0, theirs.outlook().best or 0.0)
        seconds = [run.seconds_to(level) or float("nan") for run in (ours, theirs)]
        self.equal.append(seconds[1] / seconds[0])

    def to_dict(self, *, may_compare: bool) -> dict[str, Any]:
        """As the JSON shows it."""
        return {
            "settings": self.settings,
            "is_default": self.is_default,
            "accuracy": self.accuracy,
            "their_accuracy": self.their_accuracy,
            "speedup": self.speedup if may_compare else None,
            "equal": self.equal if may_compare else None,
            "qualifies": self.behind <= EQUAL,
        }


@click.command("workloads.defaults")
@benchmark_options
def main(json_path: Path | None, repeats: int | None, quick: bool) -> None:
    """Accuracy and seconds to equal accuracy of some sizes beside backpropagation's."""
    measuring = Measuring.of(json_path, repeats or (None if quick else 3), quick)
    console, observation = make_console(), Observation()
    rows = [Row(dict(zip(NAMES, size, strict=True))) for size in (SIZES[:1] if quick else SIZES)]
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as folder:
        for seed in range(measuring.repeats):
            path = Path(folder) / f"digits-{seed}.npz"
            write_split(path, seed)
            for row in rows:
                settings = row.settings | ({"epochs": 1, "width": 32} if quick else {})
                row.measure(RunConfig(data=str(path), seed=seed, **settings), rotated(ARMS, seed))
                console.print(_line(row), highlight=False)
            facts = observation.facts()
            asked = {"repeats": measuring.repeats, "quick": quick, "data": "digits, training part"}
            write(measuring.json, "defaults", facts, asked, results(rows, facts["not_comparable"]))
    facts = observation.facts()
    _print(console, rows, facts["not_comparable"])
    print_facts(console, facts)


def results(rows: Sequence[Row], not_comparable: str | None) -> dict[str, Any]:
    """Of the JSON: without ratios, and what follows from them, where the machine was not quiet."""
    may_compare = not_comparable is None
    return {
        "rows": [row.to_dict(may_compare=may_compare) for row in rows],
        "best": best(rows).settings if may_compare else None,
    }


def write_split(path: Path, seed: int) -> None:
    """The digits' training samples in two parts, as an .npz file. Nothing of the test samples."""
    dataset = load_dataset("digits", None)
    order = np.random.default_rng(seed).permutation(len(dataset.y_train))
    held_out, kept = np.split(order, [round(HELD_OUT * len(order))])
    x, y = dataset.decode(dataset.x_train), dataset.y_train
    np.savez(path, x_train=x[kept], y_train=y[kept], x_test=x[held_out], y_test=y[held_out])


def best(rows: Sequence[Row]) -> Row:
    """The one that comes soonest of those that come far enough; of all, where none does."""
    qualified = [row for row in rows if row.behind <= EQUAL]
    return max(qualified or rows, key=lambda row: median(row.equal))


def _line(row: Row) -> str:
    said = " ".join(f"{name} {value}" for name, value in row.settings.items())
    return f"{said}: {row.accuracy[-1]:.2%} against {row.their_accuracy[-1]:.2%}"


def _print(console: Console, rows: Sequence[Row], not_comparable: str | None) -> None:
    chosen = best(rows) if not_comparable is None else None
    title = (
        "ours against backpropagation on all cores, held-out training digits; "
        "size: width, norm, batch, epochs/test every"
    )
    columns = ("size", "accuracy", "backprop", "samples/s", "to equal accuracy", "")
    shown = table(title, columns)
    for row in rows:
        marks = ("best" if row is chosen else "", "default" if row.is_default else "")
        shown.add_row(
            "{} {} {} {}/{}".format(*row.settings.values()),
            f"{fmean(row.accuracy):.2%}",
            f"{fmean(row.their_accuracy):.2%}",
            verdict(Spread.of(row.speedup), not_comparable),
            verdict(Spread.of(row.equal), not_comparable),
            " ".join(filter(None, marks)),
        )
    console.print(shown)


if __name__ == "__main__":
    enter(main)
