"""What checkpoints cost: the same run with and without them, pair after pair.

``python -m benchmarks.workloads.checkpointing``. Wall time says what a user sees, processor time
what was done; the latter is also good for a machine that others use.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
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
from dni_async.config.run_config import RunConfig
from dni_async.launcher.coordination.coordinator import train_decoupled
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.plan.plan import make_plan
from dni_async.launcher.report.building import decoupled_result
from dni_async.launcher.run_folder.folder import RunFolder

__all__ = ["main"]

TARGET = 0.02  # a run with checkpoints is to take at most this much longer
MEASURES = ("train_seconds", "train_cpu_seconds", "cpu_seconds")
QUICK = {"data": "digits", "data_dir": None, "width": 64, "epochs": 8}


class CountingFolder(RunFolder):
    """A run folder that knows how many checkpoints were made whole, and how large the last one is.

    The launcher has the metrics on disk before each.
    """

    num_checkpoints = 0

    def sync_metrics(self) -> None:
        """One more is about to be made."""
        super().sync_metrics()
        self.num_checkpoints += 1

    @property
    def checkpoint_bytes(self) -> int:
        """Of the newest one; 0 where there is none."""
        folders = [path for path in self.checkpoints.glob("*") if path.name.isdecimal()]
        newest = max(folders, key=lambda path: int(path.name), default=None)
        return 0 if newest is None else sum(path.stat().st_size for path in newest.iterdir())


@dataclass(frozen=True, slots=True)
class Row:
    """One run. train_seconds: of all epochs but the first. train_cpu_seconds: of the workers while
    they trained. cpu_seconds: of all processes from start to end.
    """

    train_seconds: float
    train_cpu_seconds: float
    cpu_seconds: float
    num_checkpoints: int
    checkpoint_bytes: int
    test_accuracy: float


@click.command("workloads.checkpointing")
@click.option("--data", default="mnist", show_default=True, help="As for dni-launch.")
@click.option("--data-dir", help="As for dni-launch.")
@click.option("--layers", default=4, show_default=True, help="As for dni-launch.")
@click.option("--width", default=1024, show_default=True, help="As for dni-launch.")
@click.option("--batch-size", default=256, show_default=True, help="As for dni-launch.")
@click.option("--epochs", default=8, show_default=True, help="As for dni-launch.")
@click.option("--checkpoint-every", default="10s", show_default=True, help="As for dni-launch.")
@benchmark_options
def main(
    json_path: Path | None, repeats: int | None, quick: bool, checkpoint_every: str, **run: Any
) -> None:
    """Train with and without checkpoints, in turn; how much longer the one takes than the other."""
    measuring = Measuring.of(json_path, repeats, quick)
    config = RunConfig(**(run | QUICK if quick else run), norm="none", baseline=False)
    every = "10" if quick else checkpoint_every
    arms = {"without": config, "with": replace(config, checkpoint_every=every)}
    console, observation = make_console(), Observation()
    pairs: list[dict[str, Row]] = []
    for number in range(measuring.repeats):
        pairs.append({name: train(arms[name]) for name in rotated(list(arms), number)})
        facts = observation.facts()
        cost = None if facts["not_comparable"] else slower(pairs)
        results = {"slower": cost, "pairs": [_plain(pair) for pair in pairs]}
        settings = {**arms["with"].to_dict(), "repeats": number + 1, "quick": quick}
        write(measuring.json, "checkpointing", facts, settings, results)
    facts = observation.facts()
    _print(console, pairs, None if facts["not_comparable"] else slower(pairs))
    print_facts(console, facts)


def train(config: RunConfig) -> Row:
    """One decoupled run, in a folder that is gone afterwards. Raises DniError."""
    plan, before = make_plan(config), _cpu_seconds()
    result = decoupled_result(plan)
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as temporary:
        folder = CountingFolder(Path(temporary) / "run")
        folder.create(config.to_toml())
        try:
            train_decoupled(plan, folder, Display(Console(quiet=True)), result)
            checkpoint_bytes = folder.checkpoint_bytes
        finally:
            folder.close()
    return Row(
        train_seconds=sum(epoch.seconds for epoch in result.epochs[1:]),
        train_cpu_seconds=sum(worker.counters.times.train_cpu_s for worker in result.workers),
        cpu_seconds=_cpu_seconds() - before,
        num_checkpoints=folder.num_checkpoints,
        checkpoint_bytes=checkpoint_bytes,
        test_accuracy=result.epochs[-1].test_metrics["accuracy"],
    )


def slower(pairs: Sequence[Mapping[str, Row]]) -> dict[str, Any]:
    """By how much a run with checkpoints takes more of each measure, as a share of one without."""
    found: dict[str, Any] = {}
    for name in MEASURES:
        ratios = [getattr(pair["with"], name) / getattr(pair["without"], name) for pair in pairs]
        found[name] = Spread.of([ratio - 1 for ratio in ratios]).to_dict()
    return found


def _cpu_seconds() -> float:
    """Of this process and of all its children that have ended, and theirs."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _plain(pair: Mapping[str, Row]) -> dict[str, Any]:
    return {name: asdict(pair[name]) for name in sorted(pair)}


def _print(
    console: Console, pairs: Sequence[Mapping[str, Row]], cost: Mapping[str, Any] | None
) -> None:
    titles = ["pair", "train s", "with", "train cpu s", "with", "cpu s", "with", "made", "MB each"]
    made = table("the same run without and with checkpoints", titles)
    for number, pair in enumerate(pairs, 1):
        times = [getattr(pair[arm], name) for name in MEASURES for arm in ("without", "with")]
        row = pair["with"]
        size = f"{row.checkpoint_bytes / 1e6:.1f}"
        cells = [f"{seconds:.2f}" for seconds in times]
        made.add_row(str(number), *cells, str(row.num_checkpoints), size)
    console.print(made)
    for name, spread in (cost or {}).items():
        met = "met" if spread["median"] <= TARGET else "MISSED"
        said = f"{spread['median']:+.1%} ({spread['min']:+.1%} to {spread['max']:+.1%})"
        console.print(
            f"{name.replace('_', ' ')}: {said}; at most {TARGET:+.0%}: {met}", highlight=False
        )


if __name__ == "__main__":
    enter(main)
