"""Carries measured stages to lines, networks and stragglers that this machine does not have.

Every stage has a core of its own. The first stage and the head cost what they cost here, all
others what the mean stage between them costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.console import Console

from benchmarks.harness.report import table
from benchmarks.workloads.simulation.calibration import LOCAL, NETWORK, LinkTimes, line_of
from benchmarks.workloads.simulation.simulation import Line, LinkCost, StageCost, simulate, slowed
from benchmarks.workloads.simulation.stage_times import StageTimes

__all__ = ["SCENARIOS", "Point", "Scenario", "print_curve", "project"]

LAN_LATENCY_S = 1e-4
STRAGGLER = 4.0
BATCHES = 300
ALONE = 0.9  # of the rate that the narrowest part would allow: then it sets the pace alone
ROUND_TRIPS = 6  # of anchors, where these set the pace


@dataclass(frozen=True, slots=True)
class Scenario:
    """What lies between the stages. bits_per_s None: one host. slow: one stage takes 4 times."""

    name: str
    bits_per_s: float | None = None
    latency_s: float = 0.0
    has_straggler: bool = False

    def line(
        self,
        stages: Sequence[StageTimes],
        links: dict[str, LinkTimes],
        *,
        window: int,
        anchor_every: int,
    ) -> Line:
        """The stages in this scenario, one core each."""
        wire = self._wire(links[NETWORK].size_bytes)
        link = links[LOCAL if wire is None else NETWORK]
        line = line_of(
            stages, link, window=window, anchor_every=anchor_every, cores=None, wire=wire
        )
        return slowed(line, len(stages) // 2, STRAGGLER) if self.has_straggler else line

    def _wire(self, size_bytes: int) -> LinkCost | None:
        if self.bits_per_s is None:
            return None
        return LinkCost(
            latency_s=self.latency_s, size_bytes=size_bytes, bytes_per_s=self.bits_per_s / 8
        )


SCENARIOS = (
    Scenario("one host"),
    Scenario("1 Gb/s", 1e9, LAN_LATENCY_S),
    Scenario("100 Mb/s", 1e8, LAN_LATENCY_S),
    Scenario("1 Gb/s, 25 ms", 1e9, 0.025),
    Scenario("straggler x4", has_straggler=True),
)


@dataclass(frozen=True, slots=True)
class Point:
    """One place of a curve.

    bound: what sets the pace: stage, link, window, anchors, or several of them together.
    """

    scenario: str
    num_stages: int
    anchor_every: int
    batches_per_second: float
    busy: float
    max_in_flight: int
    bound: str

    def to_dict(self, batch_size: int) -> dict[str, Any]:
        """As the JSON shows it. busy: of the mean stage."""
        return {
            "scenario": self.scenario,
            "stages": self.num_stages,
            "anchor_every": self.anchor_every,
            "samples_per_second": self.batches_per_second * batch_size,
            "busy": self.busy,
            "max_in_flight": self.max_in_flight,
            "bound": self.bound,
        }


def project(
    stages: Sequence[StageTimes],
    links: dict[str, LinkTimes],
    *,
    window: int,
    anchor_every: int,
    stage_counts: Sequence[int],
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> Iterator[Point]:
    """Every scenario at every length, with the run's anchors, then with one anchor per n batches.

    stages: measured, a source, at least one in the middle, a head.
    """
    for count in stage_counts:
        line_stages = _stretched(stages, count)
        for every in sorted({anchor_every, max(anchor_every, count) if anchor_every else 0}):
            for scenario in scenarios:
                line = scenario.line(line_stages, links, window=window, anchor_every=every)
                yield _point(scenario.name, line)


def _point(name: str, line: Line) -> Point:
    bounds = _bounds(line)
    blocks = line.window * line.anchor_every
    num_batches = BATCHES
    if bounds["anchors"] < bounds["stage"] and ROUND_TRIPS * blocks <= 2 * BATCHES:
        num_batches = ROUND_TRIPS * blocks  # whole round trips of all anchors that may be out
    outcome = simulate(line, num_batches, warmup=num_batches // 2)
    rate = min(outcome.batches_per_second, bounds["anchors"])
    bound = min(bounds, key=lambda each: bounds[each])
    return Point(
        scenario=name,
        num_stages=len(line.stages),
        anchor_every=line.anchor_every,
        batches_per_second=rate,
        busy=fmean(outcome.busy) * rate / outcome.batches_per_second,
        max_in_flight=outcome.max_in_flight,
        bound=bound if rate > ALONE * bounds[bound] else "several",
    )


def _bounds(line: Line) -> dict[str, float]:
    """Batches per second that each part alone would allow.

    An anchor keeps its place at every boundary until its gradient is back, so no more than
    ``window`` anchors are out at once, with the batches between them.
    """
    turns = [_turn_s(cost, line.anchor_every) for cost in line.stages]
    crossing = [link.latency_s + link.transfer_s for link in line.links]
    transfer = max((link.transfer_s for link in line.links), default=0.0)
    there_and_back = sum(cost.forward_s + cost.anchor_s for cost in line.stages) + 2 * sum(crossing)
    place = max(
        (
            link.transfer_s + 2 * link.latency_s + upper.forward_s + upper.update_s
            for link, upper in zip(line.links, line.stages[1:], strict=True)
        ),
        default=0.0,
    )
    infinite = float("inf")
    return {
        "stage": 1 / max(turns),
        "link": 1 / transfer if transfer else infinite,
        "window": line.window / place if place else infinite,
        "anchors": line.window * line.anchor_every / there_and_back
        if line.anchor_every and line.links
        else infinite,
    }


def _turn_s(cost: StageCost, anchor_every: int) -> float:
    """Mean seconds of a batch, with its share of an anchor."""
    plain = cost.forward_s + cost.update_s
    if not anchor_every:
        return plain
    anchor = cost.forward_s + cost.head_start_s + cost.anchor_s + cost.learn_s
    return (plain * (anchor_every - 1) + anchor) / anchor_every


def _stretched(stages: Sequence[StageTimes], count: int) -> list[StageTimes]:
    """count stages: source, copies of the mean stage between, head."""
    source, *between, head = stages
    names = ("forward_s", "update_s", "head_start_s", "anchor_s", "learn_s")
    cost = {name: fmean(getattr(each.cost, name) for each in between) for name in names}
    mean = StageTimes(fmean(each.batch_s for each in between), StageCost(**cost))
    return [source, *[mean] * (count - 2), head]


def print_curve(console: Console, points: Sequence[Point], batch_size: int) -> None:
    """Stages downwards, scenarios sideways; what sets the pace behind each number."""
    names = list(dict.fromkeys(point.scenario for point in points))
    made = table(
        "simulated: one core per stage, samples/s, and what sets the pace",
        ["stages", "anchors", *names],
    )
    for key in dict.fromkeys((point.num_stages, point.anchor_every) for point in points):
        row = {p.scenario: p for p in points if (p.num_stages, p.anchor_every) == key}
        cells = [
            f"{row[name].batches_per_second * batch_size:,.0f} {row[name].bound}" for name in names
        ]
        made.add_row(str(key[0]), f"1 in {key[1]}" if key[1] else "never", *cells)
    console.print(made)
