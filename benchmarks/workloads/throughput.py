"""Samples per second of every arm on one network, and how near ours comes to what is possible."""

from __future__ import annotations

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
from benchmarks.workloads.simulation.stage_times import StageTimes, ceiling, measure_stages
from dni_async.config.run_config import RunConfig
from dni_async.errors import DniError
from dni_async.system.machine import available_cores

__all__ = ["Cell", "measure_cell", "print_cell"]

OURS = "dni"
LEAST_BATCHES = 16
STAGE_BATCHES = 32


@dataclass(slots=True)
class Cell:
    """One network and batch size: every arm's runs, one per round; arms that failed, and why.

    not_comparable: why no ratio of them means anything; None where it does.
    """

    config: RunConfig
    runs: dict[str, list[Trained]] = field(default_factory=dict)
    ceilings: list[float] = field(default_factory=list)  # samples per second
    stages: list[StageTimes] = field(default_factory=list)  # of the last round
    failed: dict[str, str] = field(default_factory=dict)
    not_comparable: str | None = None

    def rate(self, arm: str) -> Spread:
        """Samples per second of each round."""
        return Spread.of([run.samples_per_second for run in self.runs[arm]])

    def speedup(self, arm: str) -> Spread:
        """Ours over arm's, round by round."""
        pairs = zip(self.rate(OURS).values, self.rate(arm).values, strict=True)
        return Spread.of([ours / theirs for ours, theirs in pairs])

    @property
    def has_ours(self) -> bool:
        """Whether there is anything to compare with."""
        return OURS in self.runs

    @property
    def may_compare(self) -> bool:
        """Whether there is a ratio of ours to anything."""
        return self.has_ours and self.not_comparable is None

    @property
    def share_of_ceiling(self) -> Spread | None:
        """Our rate over the ceiling, round by round."""
        if not self.may_compare or len(self.ceilings) != len(self.runs[OURS]):
            return None
        pairs = zip(self.rate(OURS).values, self.ceilings, strict=True)
        return Spread.of([ours / most for ours, most in pairs])

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        share = self.share_of_ceiling
        return {
            "config": self.config.to_dict() | {"data": "the first samples, in one file"},
            "num_train": next((runs[0].num_train for runs in self.runs.values()), 0),
            "arms": {arm: self._arm(arm) for arm in self.runs},
            "failed": self.failed,
            "not_comparable": self.not_comparable,
            "ceiling": {
                "samples_per_second": Spread.of(self.ceilings).to_dict() if self.ceilings else None,
                "share_reached": None if share is None else share.to_dict(),
                "stage_ms": [round(stage.batch_s * 1e3, 4) for stage in self.stages],
            },
        }

    def _arm(self, arm: str) -> dict[str, Any]:
        runs = self.runs[arm]
        return {
            "processes": runs[0].num_processes,
            "threads": runs[0].num_threads,
            "samples_per_second": self.rate(arm).to_dict(),
            "speedup_of_dni": self.speedup(arm).to_dict() if self.may_compare else None,
            "train_loss": [run.train_loss for run in runs],
            "workers": [
                {key: row[key] for key in ("stage", "busy", "waiting", "sending")}
                for row in (worker.to_dict() for worker in runs[-1].workers)
            ],
        }


def measure_cell(
    config: RunConfig,
    arms: Sequence[str],
    repeats: int,
    *,
    max_samples: int,
    note: Callable[[str], None],
) -> Cell:
    """Round after round over all arms. config.data and data_dir name the data to shorten.

    An arm that fails is left out from then on, and said so.
    """
    with tempfile.TemporaryDirectory(prefix="dni-bench-") as folder:
        path = Path(folder) / "samples.npz"
        write_samples(
            path,
            config.data,
            None if config.data_dir is None else Path(config.data_dir),
            max_samples=max(max_samples, LEAST_BATCHES * config.batch_size),
            batch_size=config.batch_size,
        )
        cell = Cell(replace(config, data=str(path), data_dir=None))
        observation = Observation()
        for number in range(repeats):
            for arm in rotated(arms, number):
                _measure_arm(cell, arm, note)
            _measure_ceiling(cell)
            cell.not_comparable = observation.facts()["not_comparable"]
            note(f"  round {number + 1} of {repeats} done")
    return cell


def _measure_ceiling(cell: Cell) -> None:
    if cell.has_ours:
        ranges = [worker.layers for worker in cell.runs[OURS][-1].workers]
        cell.stages = measure_stages(cell.config, STAGE_BATCHES, ranges=ranges)
        cell.ceilings.append(ceiling(cell.stages, available_cores()) * cell.config.batch_size)


def _measure_arm(cell: Cell, arm: str, note: Callable[[str], None]) -> None:
    if arm in cell.failed:
        return
    try:
        # A cell's rounds are compared together or not at all, by what others took over all of them.
        # So no arm is told of a round of ours that was disturbed: a baseline whose threads sleep
        # for that reason is half as fast as it can be, and was compared nonetheless.
        trained = train_arm(arm, cell.config)
        cell.runs.setdefault(arm, []).append(trained)
    except DniError as error:
        cell.failed[arm] = str(error)
        cell.runs.pop(arm, None)
        note(f"  {arm} failed and is left out: {error}")


def print_cell(console: Console, cell: Cell) -> None:
    """The arms one below the other, then the ceiling."""
    config = cell.config
    shape = f"{config.layers} layers x {config.width}, batch {config.batch_size}, {config.dtype}"
    title = f"{shape}: samples/s (median of rounds)"
    made = table(title, ["arm", "processes", "threads", "samples/s", "range", "dni is", "loss"])
    for arm, runs in cell.runs.items():
        rate, is_rival = cell.rate(arm), cell.has_ours and arm != OURS
        made.add_row(
            arm,
            str(runs[0].num_processes),
            str(runs[0].num_threads),
            f"{rate.median:,.0f}",
            f"{rate.least:,.0f}-{rate.most:,.0f}",
            verdict(cell.speedup(arm), cell.not_comparable) if is_rival else "",
            f"{runs[-1].train_loss:.3f}",
        )
    for arm in cell.failed:
        made.add_row(arm, "", "", "failed")
    console.print(made)
    print_reason(console, cell.not_comparable)
    _print_ceiling(console, cell)


def _print_ceiling(console: Console, cell: Cell) -> None:
    share = cell.share_of_ceiling
    if share is not None:
        stage_ms = ", ".join(f"{stage.batch_s * 1e3:.2f}" for stage in cell.stages)
        console.print(
            f"dni reaches {share.median:.0%} of its arithmetic ceiling "
            f"({Spread.of(cell.ceilings).median:,.0f} samples/s; stages alone on one thread, "
            f"ms per batch: {stage_ms})",
            highlight=False,
            soft_wrap=True,
        )
