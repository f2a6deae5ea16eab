"""Measured stages and links as a line that can be simulated."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.rivals.lanes.lane_pair import LanePair
from benchmarks.workloads.simulation.simulation import Line, LinkCost, StageCost
from benchmarks.workloads.simulation.stage_times import StageTimes

__all__ = ["LOCAL", "NETWORK", "LinkTimes", "line_of", "measure_links", "middle_link"]

LOCAL, NETWORK = "link-slots", "link-tcp"
DOORBELL_BYTES, DOORBELL_PAUSE_S = 64, 0.002


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """What one activation costs on a link of this machine, in seconds.

    lower_cpu_s, upper_cpu_s: of a core, at the sending and the receiving end, the credit
    included. latency_s: half the round trip of a tiny message between processes that slept.
    message_s: from one activation to the next in a stream.
    """

    size_bytes: int
    latency_s: float
    lower_cpu_s: float
    upper_cpu_s: float
    message_s: float


def measure_links(
    size_bytes: int, *, window: int, repeats: int, num_messages: int
) -> dict[str, LinkTimes]:
    """Shared slots and tcp frames, the median of several rounds over both. Raises MemberDied."""
    rounds: dict[str, list[LinkTimes]] = {LOCAL: [], NETWORK: []}
    with LanePair(window=window) as pair:
        for _ in range(repeats):
            for lane, times in rounds.items():
                stream = pair.measure(lane, "bandwidth", size_bytes, num_messages)
                bell = pair.measure(lane, "latency", DOORBELL_BYTES, 20, pause_s=DOORBELL_PAUSE_S)
                times.append(
                    LinkTimes(
                        size_bytes=size_bytes,
                        latency_s=statistics.median(bell.round_trips) / 2,
                        lower_cpu_s=stream.lower_cpu_s,
                        upper_cpu_s=stream.upper_cpu_s,
                        message_s=stream.message_s,
                    )
                )
    return {lane: middle_link(times) for lane, times in rounds.items()}


def line_of(
    stages: Sequence[StageTimes],
    link: LinkTimes,
    *,
    window: int,
    anchor_every: int,
    cores: int | None,
    wire: LinkCost | None = None,
) -> Line:
    """Stages joined by links: what a message takes of a core is the stages' work.

    wire: the way between two hosts; None: the latency of this machine and nothing else, as a
    copy within one host is the processes' work.
    """
    between = LinkCost(latency_s=link.latency_s) if wire is None else wire
    last = len(stages) - 1
    return Line(
        stages=[
            _with_messages(stage.cost, link, has_below=index > 0, has_above=index < last)
            for index, stage in enumerate(stages)
        ],
        links=[between] * last,
        window=window,
        cores=cores,
        anchor_every=anchor_every,
    )


def _with_messages(
    cost: StageCost, link: LinkTimes, *, has_below: bool, has_above: bool
) -> StageCost:
    """cost with the sending of the activation, its receiving, and the same for a gradient."""
    sends = link.lower_cpu_s if has_above else 0.0
    receives = link.upper_cpu_s if has_below else 0.0
    gradient = (link.upper_cpu_s if has_above else 0.0) + (link.lower_cpu_s if has_below else 0.0)
    return replace(
        cost,
        forward_s=cost.forward_s + sends,
        update_s=cost.update_s + receives,
        anchor_s=cost.anchor_s + gradient,
    )


def middle_link(times: Sequence[LinkTimes]) -> LinkTimes:
    """Several measurements of one link as one: the median of each time."""
    names = ("latency_s", "lower_cpu_s", "upper_cpu_s", "message_s")
    values = {name: statistics.median(getattr(each, name) for each in times) for name in names}
    return LinkTimes(size_bytes=times[0].size_bytes, **values)
