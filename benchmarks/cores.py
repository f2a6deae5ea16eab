"""A core for every layer: ``python -m benchmarks.cores``.

Every worker of ours, every rank and every thread of its rivals gets a share of a core by control
groups, so that a machine of two cores stands for one of sixteen slow ones. Samples per second,
what is learnt and how soon, and a simulation held against it, which carries the curve on.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.harness.facts import Observation
from benchmarks.harness.report import (
    Measuring,
    benchmark_options,
    enter,
    make_console,
    numbers,
    print_facts,
    write,
)
from benchmarks.harness.shares import share_of
from benchmarks.rivals.held import HELD_ARMS, ONE_CORE, OURS
from benchmarks.workloads.cores.cases import NETWORKS, Case, digits_of
from benchmarks.workloads.cores.foretold import carry_on, foretell_all, measure_parts
from benchmarks.workloads.cores.learning import learn
from benchmarks.workloads.cores.printing import print_cell, print_far
from benchmarks.workloads.cores.rounds import Bench, Cell, bench, measure_round
from dni_async.errors import ConfigError
from dni_async.system.machine import available_cores

__all__ = ["main"]

FIGURES = ("rates", "learning", "simulation")
QUICK_WIDTH, QUICK_BATCH, QUICK_BATCHES = 64, 64, 4


@click.command("cores")
@benchmark_options
@click.option("--cores", "counts", help="Numbers of cores.  [default: 4,8,16; with --quick 2]")
@click.option("--network", type=click.Choice(NETWORKS), default="mlp", show_default=True)
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), help="Of a core, for each.")
@click.option("--arms", help=f"What to train.  [default: {','.join(HELD_ARMS)}]")
@click.option("--figures", help=f"What to find out.  [default: {','.join(FIGURES)}]")
@click.option("--width", type=click.IntRange(min=1), help="Units per layer.  [default: 1024]")
@click.option("--layers", type=click.IntRange(min=2), help="[default: as many as cores]")
@click.option("--batch-size", type=click.IntRange(min=1), help="[default: 256]")
@click.option("--batches", help="Of an epoch of ours, or for each number of cores.  [default: 128]")
@click.option("--window", type=click.IntRange(min=1), help="Of ours.")
@click.option("--epochs", type=click.IntRange(min=1), help="To learn in.  [default: 5]")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path))
@click.option("--add", "adds", is_flag=True, help="Go on with what --json holds of the same.")
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    counts: str | None,
    share: float | None,
    arms: str | None,
    figures: str | None,
    adds: bool,
    batches: str | None,
    epochs: int | None,
    seeds: int,
    **settings: Any,
) -> None:
    """Throughput and time to quality with a core for every layer, beside one core and rivals."""
    measuring = Measuring.of(json_path, repeats, quick)
    data = digits_of(settings["data_dir"])
    settings["width"] = settings["width"] or (QUICK_WIDTH if quick else 1024)
    chosen = _among(arms, HELD_ARMS, "arms")
    wanted = _among(figures, FIGURES, "figures")
    settings["batch_size"] = settings["batch_size"] or (QUICK_BATCH if quick else 256)
    lengths = numbers(counts or ("2" if quick else "4,8,16"))
    default = str(QUICK_BATCHES if quick else 128)
    cells = [
        Cell(
            Case(num_cores=count, data=data, **settings),
            share or share_of(available_cores(), count),
            each,
        )
        for count, each in zip(lengths, _each(lengths, batches or default), strict=True)
    ]
    if adds:
        _take(cells, json_path)
    console, observation = make_console(), Observation()

    def note(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    def keep() -> None:
        asked: dict[str, Any] = {name: str(value) for name, value in settings.items()}
        asked |= {"repeats": measuring.repeats, "quick": quick, "data": data, "epochs": epochs}
        results = {"cells": [cell.to_dict() for cell in cells], "carried_on": carry_on(cells)}
        write(measuring.json, "cores", observation.facts(), asked, results)

    for cell in cells:
        note(f"{cell.case.name} on {cell.case.num_cores} cores of {cell.share:.2f}")
        with (
            tempfile.TemporaryDirectory(prefix="dni-bench-") as folder,
            bench(cell, Path(folder), note) as place,
        ):
            for number in range(measuring.repeats if "rates" in wanted else 0):
                _measure(place, _arms_of(cell, chosen), wanted)
                note(f"  round {number + 1} of {measuring.repeats} done")
                keep()
            for _ in range(seeds if "learning" in wanted else 0):
                cell.learnt.append(learn(place, len(cell.learnt), epochs))
            foretell_all(cells)
            keep()
        print_cell(console, cell)
    print_far(console, carry_on(cells))
    print_facts(console, observation.facts())


def _measure(place: Bench, arms: Sequence[str], wanted: Sequence[str]) -> None:
    """A round, and beside it what the simulation is made of."""
    measure_round(place, arms)
    cell = place.cell
    if "simulation" in wanted and OURS in cell.rounds[-1]:
        cell.parts.append(measure_parts(place))


def _each(lengths: Sequence[int], batches: str) -> list[int]:
    """One for all, or one for each. Raises click.BadParameter."""
    told = numbers(batches)
    if len(told) not in (1, len(lengths)):
        raise click.BadParameter(f"{batches!r}: one number for all, or {len(lengths)}")
    return told * len(lengths) if len(told) == 1 else told


def _arms_of(cell: Cell, chosen: Sequence[str]) -> list[str]:
    """On one core there is nothing to share out."""
    few = (OURS, ONE_CORE) if cell.case.num_cores == 1 else HELD_ARMS
    return [arm for arm in chosen if arm in few]


def _among(text: str | None, known: Sequence[str], option: str) -> list[str]:
    """Raises ConfigError."""
    asked = list(known) if text is None else text.split(",")
    for each in asked:
        if each not in known:
            raise ConfigError(f"{option}: unknown {each!r}; there are {', '.join(known)}")
    return asked


def _take(cells: Sequence[Cell], path: Path | None) -> None:
    """What the file holds of the same cases."""
    if path is None or not path.exists():
        return
    told = json.loads(path.read_text(encoding="utf-8"))
    for cell in cells:
        for each in told["cells"]:
            same = ("cores", "share", "batches", "name")
            mine = cell.to_dict()
            if all(each[name] == mine[name] for name in same):
                cell.take(each)


if __name__ == "__main__":
    enter(main)
