"""Training seconds to a test accuracy, over several seeds: what a faster epoch is worth."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.harness.facts import Observation, Spread
from benchmarks.harness.report import print_reason, rotated, table, verdict
from benchmarks.harness.samples import write_samples
from benchmarks.rivals.arms import Trained, train_arm
from dni_async.config.run_config import RunConfig

__all__ = ["ACCURACY_ARMS", "Race", "measure_race", "print_race"]

OURS = "dni"
ACCURACY_ARMS = (OURS, "baseline-1-thread", "baseline-all-threads")


@dataclass(slots=True)
class Race:
    """Every arm's runs, one per seed, and the accuracy they are after."""

    config: RunConfig
    target: float
    runs: dict[str, list[Trained]] = field(default_factory=dict)
    not_comparable: str | None = None  # why no ratio of seconds means anything

    def seconds(self, arm: str) -> Spread:
        """To the target, seed by seed; infinite where it was not reached."""
        reached = [run.result.seconds_to(self.target) for run in self.runs[arm]]
        return Spread.of([math.inf if each is None else each for each in reached])

    def accuracy(self, arm: str) -> Spread:
        """After the last epoch, seed by seed."""
        return Spread.of([run.epochs[-1].test_metrics["accuracy"] for run in self.runs[arm]])

    def speedup(self, arm: str) -> Spread | None:
        """Arm's seconds over ours, seed by seed; None unless both reach it with every seed."""
        pairs = list(zip(self.seconds(OURS).values, self.seconds(arm).values, strict=True))
        if not all(math.isfinite(each) for pair in pairs for each in pair):
            return None
        return Spread.of([theirs / ours for ours, theirs in pairs])

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        return {
            "config": self.config.to_dict() | {"data": "the whole data set, in one file"},
            "target": self.target,
            "not_comparable": self.not_comparable,
            "arms": {arm: self._row(arm) for arm in self.runs},
        }

    def _row(self, arm: str) -> dict[str, Any]:
        runs = self.runs[arm]
        may_compare = OURS in self.runs and self.not_comparable is None
        speedup = self.speedup(arm) if may_compare else None
        return {
            "processes": runs[0].num_processes,
            "threads": runs[0].num_threads,
            "seconds_to_target": self.seconds(arm).to_dict(),
            "test_accuracy": self.accuracy(arm).to_dict(),
            "samples_per_second": Spread.of([r.samples_per_second for r in runs]).to_dict(),
            "speedup_of_dni": None if speedup is None else speedup.to_dict(),
            "epochs": [
                [[each.seconds, each.test_metrics["accuracy"]] for each in r.epochs] for r in runs
            ],
        }


def measure_race(
    config: RunConfig,
    arms: Sequence[str],
    repeats: int,
    *,
    target: float,
    max_samples: int,
    note: Callable[[str], None],
) -> Race:
    """Every arm with seed config.seed, then every arm with the next seed. Raises DniError."""
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as folder:
        path = Path(folder) / "samples.npz"
        data_dir = None if config.data_dir is None else Path(config.data_dir)
        write_samples(
            path, config.data, data_dir, max_samples=max_samples, batch_size=config.batch_size
        )
        race = Race(replace(config, data=str(path), data_dir=None), target)
        observation = Observation()
        for number in range(repeats):
            seeded = replace(race.config, seed=config.seed + number)
            for arm in rotated(arms, number):
                ours = race.runs.get(OURS)
                trained = train_arm(arm, seeded, beside=ours[-1] if ours else None)
                race.runs.setdefault(arm, []).append(trained)
            race.not_comparable = observation.facts()["not_comparable"]
            note(f"  seed {seeded.seed} done ({number + 1} of {repeats})")
    return race


def print_race(console: Console, race: Race) -> None:
    """The arms one below the other."""
    config = race.config
    title = (
        f"{config.layers} layers x {config.width}, batch {config.batch_size}, norm {config.norm}: "
        f"training seconds to {race.target:.2%} (median over seeds)"
    )
    made = table(title, ["arm", "threads", "seconds", "range", "dni is", "accuracy", "samples/s"])
    for arm, runs in race.runs.items():
        seconds, accuracy = race.seconds(arm), race.accuracy(arm)
        made.add_row(
            arm,
            str(runs[0].num_threads),
            _seconds(seconds.median),
            f"{_seconds(seconds.least)} to {_seconds(seconds.most)}",
            "" if arm == OURS or OURS not in race.runs else _word(race, arm),
            f"{accuracy.median:.2%}",
            f"{Spread.of([run.samples_per_second for run in runs]).median:,.0f}",
        )
    console.print(made)
    print_reason(console, race.not_comparable)


def _seconds(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "not reached"


def _word(race: Race, arm: str) -> str:
    speedup = race.speedup(arm)
    if speedup is None:
        return "not comparable: not reached"
    return verdict(speedup, race.not_comparable)
