"""The simulation of a line held against what was measured, and carried on to more cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.rivals.held import OURS
from benchmarks.workloads.cores.rounds import Bench, Cell, Parts, one_core_batch_s
from benchmarks.workloads.simulation.calibration import (
    LOCAL,
    LinkTimes,
    line_of,
    measure_links,
    middle_link,
)
from benchmarks.workloads.simulation.projection import Scenario, project
from benchmarks.workloads.simulation.simulation import Line, StageCost, simulate, slowed
from benchmarks.workloads.simulation.stage_times import StageTimes, measure_stages, middle
from dni_async.system.machine import available_cores

__all__ = ["carry_on", "foretell_all", "measure_parts"]

STAGE_BATCHES = 48
MESSAGES, LEAST_MESSAGES = 2**28, 20  # bytes of a stream of them
FAR = (32, 64, 128)


def measure_parts(place: Bench) -> Parts:
    """The stages of the last round's line, and a link of it, with all cores at work, none held.

    In every round anew: the machine's speed drifts by more than the simulation is off. Raises
    MemberDied.
    """
    cell = place.cell
    config = cell.case.config(place.folder / f"{cell.batches}.npz", epochs=2)
    size_bytes = cell.case.size * cell.case.width * 4
    links = measure_links(
        size_bytes,
        window=config.places,
        repeats=1,
        num_messages=max(LEAST_MESSAGES, min(1000, MESSAGES // size_bytes)),
    )
    ranges = [tuple(worker["layers"]) for worker in cell.rounds[-1][OURS]["workers"]]
    stages = measure_stages(config, STAGE_BATCHES, ranges=ranges, copies=available_cores())
    return {
        "stages": [asdict(stage) for stage in stages],
        "links": {lane: asdict(times) for lane, times in links.items()},
    }


def foretell_all(cells: Sequence[Cell]) -> None:
    """Each cell whose parts were measured, the shortest line first.

    What a worker takes for a batch beyond its parts (its loop, messages that are in no cache, turns
    that it does not use) is what the shortest line shows of it; that one is met by that, and the
    others are foretold. Of a single line nothing is known beyond its parts.
    """
    told = sorted((each for each in cells if each.parts), key=lambda each: each.case.num_cores)
    beyond_s = 0.0
    for cell in told:
        cell.foretold = _foretold(cell, beyond_s)
        if cell is told[0] and len(told) > 1:
            rates = (cell.rate(OURS).median, cell.foretold["samples_per_second"])
            measured_s, simulated_s = (cell.case.size * cell.share / rate for rate in rates)
            beyond_s = measured_s - simulated_s


def _foretold(cell: Cell, beyond_s: float) -> dict[str, Any]:
    """Samples per second of an epoch of ours, by simulation from the medians of its parts.

    A share of a core does them as many times as slowly. error: as a share of what was measured.
    """
    config = cell.case.config(Path("any.npz"), epochs=2)
    stages = middle([[_stage(part) for part in each["stages"]] for each in cell.parts])
    stages = [_longer(stage, beyond_s) for stage in stages]
    links = {
        lane: middle_link([LinkTimes(**each["links"][lane]) for each in cell.parts])
        for lane in cell.parts[0]["links"]
    }
    line = line_of(
        stages,
        links[LOCAL],
        window=config.places,
        anchor_every=config.anchor_every,
        cores=None,
    )
    outcome = simulate(_held(line, cell.share), cell.batches)
    rate = cell.batches * cell.case.size / outcome.seconds
    return {
        "samples_per_second": rate,
        "error": rate / cell.rate(OURS).median - 1,
        "beyond_s": beyond_s,
        "window": config.places,
        "anchor_every": config.anchor_every,
        "parts": [asdict(stage) for stage in stages],
        "links": {lane: asdict(times) for lane, times in links.items()},
    }


def _longer(stage: StageTimes, beyond_s: float) -> StageTimes:
    """With so much more for every batch."""
    cost = replace(
        stage.cost,
        update_s=stage.cost.update_s + beyond_s,
        head_start_s=stage.cost.head_start_s + beyond_s,
    )
    return StageTimes(stage.batch_s + beyond_s, cost)


def _held(line: Line, share: float) -> Line:
    for stage in range(len(line.stages)):
        line = slowed(line, stage, 1 / share)
    return line


def carry_on(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Ours over one core on more cores than were measured, by the parts of the longest line.

    What one core takes for a layer more is what it took more for the longest line than for the next
    one. Empty where less than two lengths of one network were measured.
    """
    told = [cell for cell in cells if cell.foretold and one_core_batch_s(cell)]
    told.sort(key=lambda cell: cell.case.num_cores)
    if len(told) < 2 or told[-1].case.num_cores < 4 or len({c.case.network for c in told}) > 1:
        return []
    shorter, longest = told[-2:]
    whole = [share_s for cell in (shorter, longest) if (share_s := _core_s(cell))]
    lengths = [cell.case.num_cores for cell in (shorter, longest)]
    slope = (whole[1] - whole[0]) / (lengths[1] - lengths[0])
    foretold = longest.foretold or {}
    points = project(
        [_stage(part) for part in foretold["parts"]],
        {lane: LinkTimes(**times) for lane, times in foretold["links"].items()},
        window=foretold["window"],
        anchor_every=foretold["anchor_every"],
        stage_counts=FAR,
        scenarios=[Scenario("one host")],
    )
    return [
        {
            "cores": point.num_stages,
            "anchor_every": point.anchor_every,
            "dni_over_one_core": point.batches_per_second
            * (whole[1] + slope * (point.num_stages - lengths[1])),
            "bound": point.bound,
        }
        for point in points
    ]


def _core_s(cell: Cell) -> float:
    """Seconds of a whole core for a batch of the whole network."""
    return (one_core_batch_s(cell) or 0.0) * cell.share


def _stage(part: Mapping[str, Any]) -> StageTimes:
    return StageTimes(part["batch_s"], StageCost(**part["cost"]))
