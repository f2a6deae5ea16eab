"""Training against every rival: ``python -m benchmarks.training``.

Samples per second of ours, of plain backpropagation in one process on one and on all cores, of
torch's pipelines and of its data parallelism; or, with ``--target``, the training seconds
that ours and plain backpropagation take to get there. Same network, same first weights, same
batches in the same order, same fused Adam, same memory settings, denormals flushed for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
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
from benchmarks.rivals.arms import ALL_ARMS, ARMS
from benchmarks.workloads.accuracy import ACCURACY_ARMS, measure_race, print_race
from benchmarks.workloads.throughput import measure_cell, print_cell
from dni_async.config.names import LR_SCHEDULES
from dni_async.config.run_config import RunConfig
from dni_async.config.settings import CHOICES
from dni_async.errors import ConfigError
from dni_async.launcher.commands.options import number_or_auto

__all__ = ["main"]

DEFAULTS = RunConfig()
QUICK_GRID = {"widths": "32", "batch_sizes": "64", "depths": "4"}
QUICK_SAMPLES = 512
PASSED_ON = (
    "data",
    "stages",
    "partition",
    "window",
    "targets",
    "anchor_every",
    "synthesizer",
    "norm",
    "wire_dtype",
    "transport",
    "lr",
    "lr_schedule",
    "seed",
)
THROUGHPUT_EPOCHS, ACCURACY_EPOCHS = 3, 10


@click.command("training")
@benchmark_options
@click.option("--widths", default="256,1024,2048", show_default=True, help="Units per layer.")
@click.option("--batch-sizes", default="64,256,1024", show_default=True)
@click.option("--depths", default="4,8", show_default=True, help="Linear layers.")
@click.option("--dtypes", default="fp32", show_default=True, help="As dni-launch --dtype.")
@click.option("--arms", help=f"What to train.  [default: {','.join(ARMS)}]")
@click.option("--data", default="mnist", show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--max-samples",
    type=click.IntRange(min=0),
    help="Length of an epoch; 0: all.  [default: 12800; with a target all]",
)
@click.option("--epochs", type=click.IntRange(min=1), help="[default: 3; with a target 10]")
@click.option(
    "--stages",
    type=number_or_auto("workers"),
    metavar="N|auto",
    help="Workers.  [default: one per layer]",
)
@click.option("--window", type=click.IntRange(min=1), default=DEFAULTS.places, show_default=True)
@click.option("--targets", type=click.Choice(CHOICES["targets"]), default="anchor")
@click.option(
    "--anchor-every", type=click.IntRange(min=0), default=DEFAULTS.anchor_every, show_default=True
)
@click.option("--synthesizer", default="critic", show_default=True)
@click.option("--partition", type=click.Choice(CHOICES["partition"]), default="balanced")
@click.option("--wire-dtype", type=click.Choice(CHOICES["wire_dtype"]), default="same")
@click.option("--norm", type=click.Choice(CHOICES["norm"]), default="none", show_default=True)
@click.option("--transport", type=click.Choice(CHOICES["transport"]), default="auto")
@click.option("--lr", type=float, default=1e-3, show_default=True)
@click.option("--lr-schedule", type=click.Choice(LR_SCHEDULES), default="constant")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--target",
    type=click.FloatRange(0, 1, min_open=True),
    help="Measure the seconds to this test accuracy, a seed per round, instead of samples/s.",
)
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    max_samples: int | None,
    epochs: int | None,
    arms: str | None,
    target: float | None,
    **settings: Any,
) -> None:
    """Throughput, or time to an accuracy, of decoupled training and its rivals."""
    measuring = Measuring.of(json_path, repeats, quick)
    if quick:
        _make_quick(settings)
        max_samples = QUICK_SAMPLES if max_samples is None else max_samples
    chosen = _chosen_arms(arms, ACCURACY_ARMS if target else ARMS)
    console = make_console()
    observation = Observation()
    results = []

    def note(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    for config in _grid(settings, epochs or (ACCURACY_EPOCHS if target else None)):
        note(f"{config.layers} layers x {config.width}, batch {config.batch_size}")
        if target:
            race = measure_race(
                config,
                chosen,
                measuring.repeats,
                target=target,
                max_samples=max_samples or 0,
                note=note,
            )
            print_race(console, race)
            results.append(race.to_dict())
        else:
            samples = 12800 if max_samples is None else max_samples
            cell = measure_cell(
                config, chosen, measuring.repeats, max_samples=samples or 2**31, note=note
            )
            print_cell(console, cell)
            results.append(cell.to_dict())
        # After every cell: hours of measuring should not hang on the last one.
        asked = {
            "repeats": measuring.repeats,
            "quick": quick,
            "arms": chosen,
            "max_samples": max_samples,
            "epochs": config.epochs,
            "target": target,
            **{name: str(value) for name, value in settings.items()},
        }
        write(measuring.json, "training", observation.facts(), asked, {"cells": results})
    print_facts(console, observation.facts())


def _grid(settings: dict[str, Any], epochs: int | None) -> Iterator[RunConfig]:
    """Every network of the grid, the smallest first. Raises ConfigError."""
    sizes = (numbers(settings[name]) for name in ("depths", "widths", "batch_sizes"))
    data_dir = settings["data_dir"]
    for dtype, layers, width, batch_size in product(settings["dtypes"].split(","), *sizes):
        values = {
            "layers": layers,
            "width": width,
            "batch_size": batch_size,
            "dtype": dtype,
            "epochs": epochs or THROUGHPUT_EPOCHS,
            "data_dir": None if data_dir is None else str(data_dir),
            "devices": ["cpu"],
            "baseline": False,
        }
        values |= {name: settings[name] for name in PASSED_ON}
        yield RunConfig.from_dict(values)


def _make_quick(settings: dict[str, Any]) -> None:
    """Small where the command line says nothing else."""
    context = click.get_current_context()
    for name, value in QUICK_GRID.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT:
            settings[name] = value


def _chosen_arms(text: str | None, usual: tuple[str, ...]) -> list[str]:
    """What was asked for, else the usual ones. A race to an accuracy has no others."""
    known = ALL_ARMS if usual == ARMS else usual
    chosen = list(usual) if text is None else text.split(",")
    for arm in chosen:
        if arm not in known:
            raise ConfigError(f"arms: unknown arm {arm!r}; there are {', '.join(known)}")
    return chosen


if __name__ == "__main__":
    enter(main)
