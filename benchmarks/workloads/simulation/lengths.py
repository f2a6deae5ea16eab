"""Lines of several lengths, trained for real and simulated from their measured parts.

Strong: one network of equal layers, cut into more and more stages. Weak: one layer per stage,
more and more of both. All layers are as wide as the samples, so they cost the same; the last
stage also has the classes' layer. Each worker computes on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from benchmarks.harness.facts import Spread
from benchmarks.harness.report import rotated
from benchmarks.rivals.arms import Trained, train_arm
from benchmarks.workloads.simulation.calibration import LinkTimes, line_of
from benchmarks.workloads.simulation.simulation import simulate
from benchmarks.workloads.simulation.stage_times import StageTimes, measure_stages, middle
from dni_async.config.run_config import RunConfig
from dni_async.system.machine import available_cores

__all__ = ["Length", "Mode", "Setting", "boundary_cost", "measure_lengths"]

STAGE_BATCHES = 48

Mode = Literal["strong", "weak"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs of one call have in common. layers: of the strong ones. path: the data."""

    width: int
    layers: int
    batch_size: int
    window: int
    anchor_every: int
    path: Path

    def config(self, mode: Mode, num_stages: int) -> RunConfig:
        """A run of one length; the classes' layer comes on top."""
        return RunConfig(
            layers=1 + (self.layers if mode == "strong" else num_stages),
            stages=num_stages,
            partition="even",  # all layers cost the same, and the last stage has one more
            width=self.width,
            norm="none",
            batch_size=self.batch_size,
            window=self.window,
            targets="anchor",
            anchor_every=self.anchor_every,
            data=str(self.path),
            epochs=3,
            devices=("cpu",),
            threads_per_worker=1,
            baseline=False,
        )


@dataclass(slots=True)
class Length:
    """One number of stages in one mode: what was measured, and what the simulation says."""

    config: RunConfig
    runs: list[Trained] = field(default_factory=list)
    measured: list[list[StageTimes]] = field(default_factory=list)  # by round
    simulated: float = 0.0  # samples per second

    @property
    def num_stages(self) -> int:
        """One worker each."""
        return self.config.num_stages or 1

    @property
    def stages(self) -> list[StageTimes]:
        """The median of the rounds."""
        return middle(self.measured)

    @property
    def rate(self) -> Spread:
        """Samples per second of each round."""
        return Spread.of([run.samples_per_second for run in self.runs])

    @property
    def error(self) -> float:
        """Of the simulation, as a share of what was measured."""
        return self.simulated / self.rate.median - 1

    @property
    def busy(self) -> float:
        """Of the mean worker."""
        return fmean(worker.to_dict()["busy"] for run in self.runs for worker in run.workers)

    @property
    def rss_bytes(self) -> Spread:
        """Of each worker of the last run; what all share (libraries) counts in each."""
        return Spread.of(
            [float(worker.counters.memory.rss_bytes) for worker in self.runs[-1].workers]
        )

    def simulate(self, link: LinkTimes) -> None:
        """One epoch on this machine's cores, from an empty line to an empty line."""
        line = line_of(
            self.stages,
            link,
            window=self.config.places,
            anchor_every=self.config.anchor_every,
            cores=available_cores(),
        )
        num_train = self.runs[0].num_train
        outcome = simulate(line, num_train // self.config.batch_size)
        self.simulated = num_train / outcome.seconds

    def to_dict(self) -> dict[str, Any]:
        """As the JSON shows it."""
        return {
            "stages": self.num_stages,
            "layers": self.config.layers,
            "samples_per_second": self.rate.to_dict(),
            "simulated_samples_per_second": self.simulated,
            "simulation_error": self.error,
            "busy": self.busy,
            "rss_bytes": self.rss_bytes.to_dict(),
            "stage_ms": [round(stage.batch_s * 1e3, 4) for stage in self.stages],
        }


def measure_lengths(
    setting: Setting,
    counts: Sequence[int],
    repeats: int,
    link: LinkTimes,
    note: Callable[[str], None],
) -> dict[Mode, list[Length]]:
    """Round after round over all lengths of both modes, then the simulations. Raises DniError.

    The parts are measured on as many cores at once as they run on.
    """
    modes: dict[Mode, list[Length]] = {
        "strong": [Length(setting.config("strong", n)) for n in counts if n <= setting.layers],
        "weak": [Length(setting.config("weak", n)) for n in counts],
    }
    lengths = [length for each in modes.values() for length in each]
    for number in range(repeats):
        for length in rotated(lengths, number):
            length.runs.append(train_arm("dni", length.config))
            copies = min(available_cores(), length.num_stages)
            length.measured.append(measure_stages(length.config, STAGE_BATCHES, copies=copies))
        note(f"round {number + 1} of {repeats} done")
    for length in lengths:
        length.simulate(link)
    return modes


def boundary_cost(lengths: Sequence[Length]) -> float | None:
    """Core-seconds per batch that one more boundary adds to the same network; None if unknown.

    The slope of cores x seconds per batch over the number of stages, where all cores have a
    stage. It is net: a cut also saves a product, as no gradient crosses it between anchors.
    """
    cores = available_cores()
    points = [
        (float(each.num_stages), cores * each.config.batch_size / each.rate.median)
        for each in lengths
        if each.num_stages >= cores
    ]
    if len(points) < 2:
        return None
    mean_x, mean_y = (fmean(point[axis] for point in points) for axis in (0, 1))
    products = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return products / sum((x - mean_x) ** 2 for x, _ in points)
