"""One stage several times slower than the others: ``python -m benchmarks.workloads.uneven``.

What waiting for it costs, and what it costs and brings not to: ``--when-full skip`` and
``--when-empty replay``. The slow stage sleeps as long as its work would take that many times more.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import click
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
    write,
)
from benchmarks.rivals.arms import Trained, train_arm
from benchmarks.workloads.simulation.stage_times import measure_stages
from benchmarks.workloads.slow_network import SETTING
from dni_async.config.run_config import RunConfig
from dni_async.system.machine import available_cores

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
STAGE_BATCHES = 48
NUM_FEATURES = {"mnist": 784, "fashion-mnist": 784, "digits": 64}


@dataclass(slots=True)
class Case:
    """One way to treat slow neighbours. is_slow: False without the slow stage."""

    name: str
    config: RunConfig
    is_slow: bool = True
    runs: list[Trained] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it; workers by stage, medians over the seeds."""
        workers = [run.workers for run in self.runs]
        return {
            "name": self.name,
            "when_full": self.config.when_full,
            "when_empty": self.config.when_empty,
            "is_slow": self.is_slow,
            "train_seconds": Spread.of([_seconds(run) for run in self.runs]).to_dict(),
            "errors": [_error(run) for run in self.runs],
            **{
                key: [
                    median(getattr(w.counters.work, key) for w in stage)
                    for stage in zip(*workers, strict=True)
                ]
                for key in ("updates", "skipped", "replayed")
            },
        }


@click.command("workloads.uneven")
@benchmark_options
@click.option("--layers", type=click.IntRange(min=2), default=4, show_default=True)
@click.option("--width", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--slow", type=click.IntRange(min=0), default=2, show_default=True, help="The stage.")
@click.option("--factor", type=click.FloatRange(min=1), default=4.0, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="[default: 5]")
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--data", type=click.Choice(list(NUM_FEATURES)), default="mnist", show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path))
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    layers: int,
    width: int,
    slow: int,
    factor: float,
    epochs: int | None,
    batch_size: int,
    data: str,
    data_dir: Path | None,
) -> None:
    """What one slow stage costs, by how the others treat it; a seed for each repeat."""
    measuring = Measuring.of(json_path, repeats or (None if quick else 3), quick)
    console, observation = make_console(), Observation()
    data = "digits" if quick else data
    config = RunConfig(
        model="benchmarks.workloads.slow_network:make",
        data=data,
        data_dir=None if data_dir is None or quick else str(data_dir),
        epochs=epochs or (1 if quick else 5),
        batch_size=64 if quick else batch_size,
        threads_per_worker=1,
        devices=("cpu",),
        baseline=False,
    )
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{before}" if before else str(ROOT)
    network = f"{layers},{width},{NUM_FEATURES[data]},{slow}"
    os.environ[SETTING] = f"{network},0"
    stage_s = measure_stages(config, STAGE_BATCHES, copies=available_cores())[slow].batch_s
    extra_s = (factor - 1) * stage_s
    console.print(
        f"stage {slow} takes {stage_s * 1e3:.2f} ms a batch and sleeps {extra_s * 1e3:.2f} more",
        highlight=False,
    )
    cases = _cases(config)
    asked = {"network": network, "factor": factor, "config": config.to_dict() | {"data_dir": None}}
    for seed in range(measuring.repeats):
        for case in rotated(cases, seed):
            os.environ[SETTING] = f"{network},{extra_s if case.is_slow else 0}"
            case.runs.append(train_arm("dni", dataclasses.replace(case.config, seed=seed)))
            console.print(f"seed {seed}, {case.name}: done", highlight=False)
    _print(console, cases)
    facts = observation.facts()
    print_facts(console, facts)
    results = {"extra_ms": extra_s * 1e3, "cases": [case.to_dict() for case in cases]}
    write(measuring.json, "uneven", facts, asked | {"repeats": measuring.repeats}, results)


def _cases(config: RunConfig) -> list[Case]:
    def make(full: str, empty: str) -> RunConfig:
        return RunConfig.from_dict({**config.to_dict(), "when_full": full, "when_empty": empty})

    return [
        Case("no slow stage", make("wait", "wait"), is_slow=False),
        Case("wait", make("wait", "wait")),
        Case("skip", make("skip", "wait")),
        Case("replay", make("wait", "replay")),
        Case("skip and replay", make("skip", "replay")),
    ]


def _print(console: Console, cases: Sequence[Case]) -> None:
    made = table(
        "one slow stage; updates, skipped and replayed batches by stage",
        ["case", "seconds", "error %", "updates", "skipped", "replayed"],
    )
    for case in cases:
        told = case.to_dict()
        made.add_row(
            case.name,
            f"{told['train_seconds']['median']:.1f}",
            " ".join(f"{error:.2f}" for error in told["errors"]),
            *(
                " ".join(f"{n:,.0f}" for n in told[key])
                for key in ("updates", "skipped", "replayed")
            ),
        )
    console.print(made)


def _seconds(run: Trained) -> float:
    return sum(epoch.seconds for epoch in run.epochs)


def _error(run: Trained) -> float:
    return 100 * (1 - run.epochs[-1].test_metrics["accuracy"])


if __name__ == "__main__":
    enter(main)
