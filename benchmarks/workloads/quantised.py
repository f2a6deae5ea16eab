"""What do 8 bits over a link cost? Test errors by format and rule, and the bytes of a batch.

``python -m benchmarks.workloads.quantised``. First the whole line in one process and in order, with
every way to round; then whole asynchronous runs over tcp, as ``dni-launch`` makes them, with each
``--wire-dtype`` and ``--wire-rounding``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
    table,
    write,
)
from benchmarks.rivals.arms import train_arm
from benchmarks.rivals.reference import train_over_wire
from dni_async.config.run_config import RunConfig

__all__ = ["main"]

RULES: dict[str, dict[str, Any]] = {
    "dni, anchors": {},
    "dni, bootstrap": {"targets": "bootstrap"},
    "fdg": {"rule": "fdg"},
}
FORMATS = (
    "same",
    "bf16",
    "int8",
    "int8 stochastic",
    "int8 per-tensor",
    "int8 per-tensor stochastic",
    "int8 feedback",
    "int8 stochastic feedback",
)
RUN_FORMATS = ("same", "bf16", "int8", "int8 stochastic")
QUICK = {"data": "digits", "data_dir": None, "epochs": 1, "batch_size": 64, "layers": 2}


@dataclass(slots=True)
class Outcome:
    """One rule over one format. Errors in percent, by seed.

    batch_bytes: in frames over all links, both ways, for each batch of training and testing; of
    whole runs alone. up, down: relative errors of what was carried, of runs in order alone.
    """

    rule: str
    wire: str
    is_in_order: bool
    errors: list[float] = field(default_factory=list)
    batch_bytes: list[float] = field(default_factory=list)
    up: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        return dataclasses.asdict(self)


@click.command("workloads.quantised")
@benchmark_options
@click.option("--epochs", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--norm", default="none", show_default=True)
@click.option("--layers", type=click.IntRange(min=2), default=4, show_default=True)
@click.option("--lr-schedule", default="cosine", show_default=True)
@click.option("--in-order/--no-in-order", "is_in_order", default=True, help="The first part.")
@click.option("--runs/--no-runs", "has_runs", default=True, help="The second part.")
@click.option("--data", default="mnist", show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path))
def main(
    json_path: Path | None,
    repeats: int | None,
    quick: bool,
    epochs: int,
    batch_size: int,
    norm: str,
    layers: int,
    lr_schedule: str,
    is_in_order: bool,
    has_runs: bool,
    data: str,
    data_dir: Path | None,
) -> None:
    """Test errors and bytes by wire format and rule, over several seeds."""
    measuring = Measuring.of(json_path, repeats or (None if quick else 2), quick)
    console, observation = make_console(), Observation()
    asked: dict[str, Any] = {
        "data": data,
        "data_dir": None if data_dir is None else str(data_dir),
        "epochs": epochs,
        "batch_size": batch_size,
        "norm": norm,
        "layers": layers,
        "lr_schedule": lr_schedule,
    }
    settings = asked | (QUICK if quick else {})
    outcomes = [Outcome(rule, wire, True) for rule in RULES for wire in FORMATS if is_in_order]
    outcomes += [Outcome(rule, wire, False) for rule in RULES for wire in RUN_FORMATS if has_runs]
    for seed in range(measuring.repeats):
        for outcome in outcomes:
            config = RunConfig(
                baseline=False, devices=("cpu",), seed=seed, **settings, **RULES[outcome.rule]
            )
            _measure(outcome, config)
            said = f"seed {seed}, {outcome.rule}, {outcome.wire}: {outcome.errors[-1]:.2f} %"
            console.print(said, highlight=False)
            write(
                measuring.json,
                "quantised",
                observation.facts(),
                asked | {"data_dir": None, "repeats": measuring.repeats, "quick": quick},
                {"rows": [each.to_dict() for each in outcomes if each.errors]},
            )
    _print(console, [each for each in outcomes if each.is_in_order], "in order, in one process")
    _print(console, [each for each in outcomes if not each.is_in_order], "whole runs over tcp")
    print_facts(console, observation.facts())


def _measure(outcome: Outcome, config: RunConfig) -> None:
    if outcome.is_in_order:
        told = train_over_wire(config, outcome.wire)
        outcome.errors.append(round(100 * (1 - told["accuracy"]), 6))
        outcome.up.append(told["up_error"])
        outcome.down.append(told["down_error"])
        return
    wire_dtype, _, rounding = outcome.wire.partition(" ")
    changes = {"wire_dtype": wire_dtype, "wire_rounding": rounding or "nearest"}
    wired = dataclasses.replace(config, transport="tcp", **changes)  # type: ignore[arg-type]
    trained = train_arm("dni", wired)
    outcome.errors.append(round(100 * (1 - trained.epochs[-1].test_metrics["accuracy"]), 6))
    outcome.batch_bytes.append(
        sum(worker.counters.traffic.frame_bytes for worker in trained.workers)
        / trained.links[0].activations
    )


def _print(console: Console, outcomes: Sequence[Outcome], title: str) -> None:
    if not outcomes:
        return
    made = table(
        f"{title}: test error in %, mean over seeds",
        ["rule", "format", "error", "by seed", "KB a batch", "error up", "error down"],
    )
    for outcome in outcomes:
        made.add_row(
            outcome.rule,
            outcome.wire,
            f"{fmean(outcome.errors):.2f}",
            " ".join(f"{error:.2f}" for error in outcome.errors),
            f"{fmean(outcome.batch_bytes) / 1e3:.1f}" if outcome.batch_bytes else "",
            f"{fmean(outcome.up):.4f}" if outcome.up else "",
            f"{fmean(outcome.down):.4f}" if outcome.down else "",
        )
    console.print(made)


if __name__ == "__main__":
    enter(main)
