"""What do rules and synthesizers learn in deep networks? Beside backpropagation of the same.

``python -m benchmarks.deep``. The project's own stages, boundaries and machines over the line in
one process, with chosen delays; or, with ``--real``, real asynchronous workers. Every arm has the
same network, batches, epochs and schedule, and the best rate of a grid. All is told of samples
that are held out of training; of the test's with ``--test`` alone, for which nothing is chosen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
    rotated,
    table,
    write,
)
from benchmarks.workloads.deep.arms import DEFAULT_ARMS, Arm, arm_of
from benchmarks.workloads.deep.choices import Choice, candidate_arms, choose, verdict
from benchmarks.workloads.deep.entries import Entry
from benchmarks.workloads.deep.rows import ROWS, Row
from benchmarks.workloads.deep.running import Order, count_work, train_in_order, train_really
from benchmarks.workloads.deep.samples import HeldOut
from benchmarks.workloads.deep.samples import write as write_samples
from dni_async.errors import ConfigError

__all__ = ["main"]

QUICK = {"epochs": 1, "batch_size": 32}
QUICK_SAMPLES = (64, 64)
FEW = (512, 8)  # enough for a period of anchors


@dataclass(slots=True)
class Laboratory:
    """Entries, the data that they share, and how they are trained.

    jobs: processes in which entries are trained in order; 0: by real workers. chosen: what came of
    the first seed while a rate was chosen, by entry and rate.
    """

    entries: list[Entry]
    folder: Path
    jobs: int
    console: Console
    chosen: dict[tuple[str, float], dict[str, Any]] = field(default_factory=dict)

    def train(self, orders: Sequence[Order]) -> Iterator[tuple[Entry, dict[str, Any]]]:
        """Each entry with what came of it; says so."""
        if self.jobs:
            done = train_in_order(orders, self.jobs)
        else:
            done = ((entry, train_really(entry, config)) for entry, config in orders)
        for entry, result in done:
            if "failed" in result:
                said = result["failed"]
            else:
                said = f"lr {result['lr']:g}, seed {result['seed']}: {_last(entry, result)}"
            self.console.print(f"{entry.name}, {said}", highlight=False, markup=False)
            yield entry, result

    def data(self, row: Row, held_out: str) -> str:
        """The file of a row's samples."""
        return str(self.folder / f"{row.kind}-{row.samples or 0}-{held_out}.npz")

    def choose(self, lrs: Sequence[float]) -> None:
        """Give every entry that has no rate of its own the best of these, by the first seed."""
        choosing = [each for each in self.entries if "lr" not in each.arm.settings]
        orders = [
            (each, each.config(0, lr, self.data(each.row, "tuning")))
            for lr in lrs
            for each in choosing
        ]
        for (entry, config), (_, result) in zip(orders, self.train(orders), strict=True):
            assert config.lr is not None
            failed = "failed" in result
            entry.grid[config.lr] = float("inf") if failed else entry.row.quality.of(result)
            self.chosen[entry.name, config.lr] = result

    def measure(self, seed: int, held_out: HeldOut) -> None:
        """A seed of every entry, each time beginning with the next one.

        What has been trained in order to choose a rate, on the same samples, is not trained again.
        """
        known = self.chosen if self.jobs and seed == 0 and held_out == "tuning" else {}
        entries = [each for each in rotated(self.entries, seed) if not each.failed]
        orders = [
            (each, each.config(seed, each.lr, self.data(each.row, held_out)))
            for each in entries
            if (each.name, each.lr) not in known
        ]
        done = {entry.name: result for entry, result in self.train(orders)}
        for entry in entries:
            result = done.get(entry.name) or known[entry.name, entry.lr]
            if "failed" in result:
                entry.failed = result["failed"]
            else:
                entry.seeds.append(result)

    def decide(self, seed: int) -> Iterator[Choice]:
        """What --rule auto takes on every row, at the rate of its first candidate."""
        for name, row in {entry.row.name: entry.row for entry in self.entries}.items():
            ours = [
                each for each in self.entries if each.row.name == name and not each.arm.is_reference
            ]
            config = ours[0].config(seed, ours[0].lr, self.data(row, "tuning"))
            choice = choose(row, config, ours)
            said = choice.told["sentence"]
            self.console.print(f"{row.name}, seed {seed}: {said}", highlight=False, markup=False)
            yield choice

    def count(self) -> None:
        """The arithmetic of every entry that trains."""
        orders = [
            (each, each.config(0, each.lr, self.data(each.row, "few")))
            for each in self.entries
            if not each.failed
        ]
        for entry, result in count_work(orders, max(1, self.jobs)):
            if "failed" in result:
                self.console.print(f"{entry.name}: not counted: {result['failed']}", markup=False)
            else:
                entry.arithmetic = result


@click.command("deep")
@benchmark_options
@click.option("--rows", "names", help="Names or parts of names, between semicolons; '?' lists.")
@click.option("--arm", "arms", multiple=True, help="NAME: FLAGS of dni-launch; as many as wanted.")
@click.option("--delays", default="0", show_default=True, help="0;4;3,2,1: each for every arm.")
@click.option("--lrs", help="1e-3,3e-3: the best is taken, by what is held out.")
@click.option("--seeds", type=click.IntRange(min=1), help="[default: 3; with --quick 1]")
@click.option("--epochs", type=click.IntRange(min=1), help="Of every row.  [default: its own]")
@click.option("--samples", type=click.IntRange(min=64), help="To train on.  [default: the row's]")
@click.option("--test", "is_test", is_flag=True, help="Tell of test samples, not of held out ones.")
@click.option("--auto", "is_auto", is_flag=True, help="Candidates of --rule auto, and its choice.")
@click.option("--real", is_flag=True, help="Real workers; the reference on all threads.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Beside one another.")
@click.option("--count/--no-count", "counts", default=True, help="Multiply-adds of every arm.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path))
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    names: str | None,
    arms: tuple[str, ...],
    delays: str,
    lrs: str | None,
    seeds: int | None,
    epochs: int | None,
    samples: int | None,
    is_test: bool,
    is_auto: bool,
    real: bool,
    jobs: int,
    counts: bool,
    data_dir: Path | None,
) -> None:
    """Error, loss, agreement and arithmetic of deep networks by arm; --repeats is --seeds."""
    measuring = Measuring.of(json_path, seeds or repeats or (None if quick else 3), quick)
    console, observation = make_console(), Observation()
    common: dict[str, Any] = QUICK if quick else {} if epochs is None else {"epochs": epochs}
    rows = _chosen(names, samples)
    if is_auto and ";" in delays:
        raise ConfigError("delays: --auto chooses for one delay of all arms, so give one alone")
    asked = [
        arm
        for each in delays.split(";")
        for arm in (candidate_arms(each.strip()) if is_auto else _asked(arms, each.strip()))
    ]
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as temporary:
        entries = _entries(rows, asked, common)
        laboratory = Laboratory(entries, Path(temporary), 0 if real else jobs, console)
        held_out: HeldOut = "test" if is_test else "tuning"
        _write_data(laboratory, rows, {"tuning", held_out}, data_dir, quick=quick)
        if counts:
            laboratory.count()
        if lrs is not None:
            laboratory.choose(_rates(lrs))
        settings = {
            "repeats": measuring.repeats,
            "quick": quick,
            "delays": delays,
            "lrs": lrs,
            "held_out": held_out,
            "auto": is_auto,
            "real": real,
            "jobs": jobs,
        } | common
        choices: list[Choice] = []
        for seed in range(measuring.repeats):
            laboratory.measure(seed, held_out)
            results: dict[str, Any] = {"rows": [each.to_dict() for each in entries]}
            if is_auto:
                choices += laboratory.decide(seed)
                results["choices"] = [each.to_dict() for each in choices]
            write(measuring.json, "deep", observation.facts(), settings, results)
    _print(console, entries, held_out, is_timed=real)
    for row in rows if is_auto else ():
        said = verdict([each for each in choices if each.row.name == row.name])
        console.print(f"{row.name}: auto took {said}", highlight=False, markup=False)
    print_facts(console, observation.facts())


def _asked(arms: Sequence[str], delays: str) -> list[Arm]:
    return [arm_of(text, delays) for text in arms or DEFAULT_ARMS]


def _chosen(names: str | None, samples: int | None) -> list[Row]:
    parts = [""] if names is None else [part.strip() for part in names.split(";")]
    chosen = [row.on(samples) for row in ROWS if any(part in row.name for part in parts)]
    if not chosen:
        raise ConfigError(f"rows: none is called {names!r}; {'; '.join(row.name for row in ROWS)}")
    return chosen


def _entries(rows: Sequence[Row], arms: Sequence[Arm], common: dict[str, Any]) -> list[Entry]:
    """References first; each row's own. Raises ConfigError where a setting does not fit."""
    entries = []
    for row in rows:
        references: dict[str, Entry] = {}
        for arm in arms:
            plain = arm.reference
            if plain.name not in references:
                references[plain.name] = Entry(row, plain, common)
        ours = [Entry(row, arm, common, references[arm.reference.name]) for arm in arms]
        entries += [*references.values(), *ours]
    for entry in entries:
        entry.config(0, entry.lr, "digits")
    return entries


def _rates(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"lrs: {text!r} is no list of numbers like 1e-3,3e-3") from None


def _write_data(
    laboratory: Laboratory,
    rows: Sequence[Row],
    held_out: set[HeldOut],
    data_dir: Path | None,
    *,
    quick: bool,
) -> None:
    for row in rows:
        kinds: dict[str, tuple[HeldOut, tuple[int | None, int | None]]] = {
            each: (each, QUICK_SAMPLES if quick else (row.samples, None)) for each in held_out
        }
        for name, (part, most) in (kinds | {"few": ("tuning", FEW)}).items():
            path = Path(laboratory.data(row, name))
            if not path.exists():
                write_samples(path, row.kind, part, data_dir=data_dir, most=most, may_draw=quick)


def _last(entry: Entry, result: dict[str, Any]) -> str:
    figure = entry.row.quality.figure
    value = entry.row.quality.of(result)
    said = f"{value:.2f} %" if figure == "error" else f"loss {value:.4f}"
    return f"{said}, {result['samples_per_second']:.0f} samples/s"


def _print(
    console: Console, entries: Sequence[Entry], held_out: HeldOut, *, is_timed: bool
) -> None:
    kind = "test samples" if held_out == "test" else "samples held out of training"
    columns = ["arm", "lr", "error %", "loss", "behind", "target", "cosines", "work", "samples/s"]
    columns += ["s to goal"] if is_timed else []
    for name in dict.fromkeys(entry.row.name for entry in entries):
        made = table(f"{name}: of {kind}, means over seeds", columns)
        for entry in entries:
            if entry.row.name == name:
                made.add_row(entry.arm.label, f"{entry.lr:g}", *_cells(entry)[: len(columns) - 2])
        console.print(made)


def _cells(entry: Entry) -> list[str]:
    if not entry.seeds:
        return ["", "", "", entry.verdict]
    behind, work = entry.behind, entry.work
    agreement = ["-" if each is None else f"{each[0]:.2f}" for each in entry.seeds[-1]["agreement"]]
    if len(agreement) > 4:
        agreement[2:-2] = [".."]
    times = [each for each in entry.seconds_to_goal if each is not None]
    reached = f" {len(times)}/{len(entry.seeds)}" if len(times) < len(entry.seeds) else ""
    return [
        f"{entry.mean('error'):.2f}",
        f"{entry.mean('loss'):.4f}",
        "" if behind is None else entry.row.quality.said(behind),
        entry.verdict,
        " ".join(agreement),
        "" if work is None else f"{work:.2f}",
        f"{fmean(each['samples_per_second'] for each in entry.seeds):.0f}",
        f"{fmean(times):.1f}{reached}" if times else "never",
    ]


if __name__ == "__main__":
    enter(main)
