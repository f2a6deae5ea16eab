"""What each stage's arithmetic takes: the whole line in one process, on one thread, no links.

The stages do what the run's rule tells them to, batch by batch and in the order of a line; the
spans that workers record tell what each action took. As a program it measures for whoever started
it (JSON lines); several at once show what the cores take from each other.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from benchmarks.harness.member import answer
from benchmarks.harness.team import Team
from benchmarks.workloads.simulation.simulation import StageCost
from dni_async.config.run_config import RunConfig
from dni_async.stage.threads import prepare_torch
from dni_async.workers.in_memory import InMemoryLine, Span, build_line

__all__ = ["StageTimes", "ceiling", "main", "measure_stages", "middle"]

WARM_UP, LEAST = 4, 4  # batches
MANY = 10_000  # epochs: measuring ends before
COMPUTED: Final[dict[str, str]] = {
    "load": "forward",
    "forward": "forward",
    "loss": "update",
    "synthesize": "update",
    "backward": "update",
    "optimize": "update",
    "carry back": "anchor",
    "learn": "learn",
}
"""Part of a batch's time by kind of span; what links and evaluation take is none of them."""
ENOUGH_S = 5.0


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds of one core. batch_s: the stage's mean over all batches, anchors included."""

    batch_s: float
    cost: StageCost


def ceiling(stages: Sequence[StageTimes], cores: int) -> float:
    """Batches per second that arithmetic alone allows: all cores busy, or the slowest stage."""
    whole = sum(stage.batch_s for stage in stages)
    return min(cores / whole, 1 / max(stage.batch_s for stage in stages))


def measure_stages(
    config: RunConfig,
    num_batches: int,
    *,
    ranges: Sequence[tuple[int, int]] | None = None,
    copies: int = 1,
) -> list[StageTimes]:
    """The stages of a run over num_batches batches; copies measure at the same time.

    ranges: the stages' layers, where they are not cut evenly. Fewer batches are measured if they
    take long, but at least one anchor where there are any. Raises MemberDied.
    """
    order = {"config": config.to_dict(), "num_batches": num_batches, "ranges": ranges}
    with Team("benchmarks.workloads.simulation.stage_times", copies) as team:
        team.tell_all([order] * copies)
        measured = [team.hear(member)["stages"] for member in range(copies)]
    return middle([[_stage_times(row) for row in stages] for stages in measured])


def main(_member: int) -> None:
    """One measurement, asked for and answered in JSON."""
    order = json.loads(sys.stdin.readline())
    config = RunConfig.from_dict(order["config"])
    prepare_torch(1)
    answer({"stages": _measure(config, order["ranges"], order["num_batches"])})


def _measure(
    config: RunConfig, ranges: Sequence[Sequence[int]] | None, num_batches: int
) -> list[dict[str, float]]:
    """Means over the batches, one row per stage."""
    endless = dataclasses.replace(config, epochs=MANY, evaluate_every=MANY, window=1, profile=True)
    chosen = None if ranges is None else [(first, end) for first, end in ranges]
    line = build_line(endless, ranges=chosen)
    every, target = config.make_rule().anchor_every, WARM_UP + num_batches
    first_anchor = -(-WARM_UP // every) * every if every else 0
    least = max(min(target, WARM_UP + LEAST), first_anchor + 1)
    _train(line, WARM_UP)
    began = time.perf_counter()
    _train(line, least)
    while (done := line.equipments[0].machine.next_batch_id) <= target:
        if time.perf_counter() - began > ENOUGH_S:
            break
        _train(line, done)
    stages = range(len(line.equipments))
    return [
        _times(line.spans(stage), is_head=stage == stages[-1], anchor_every=every)
        for stage in stages
    ]


def _train(line: InMemoryLine, num_batches: int) -> None:
    """Until so many training batches have left the source's hands, and its answers are in."""
    source = line.equipments[0].machine
    while source.next_batch_id <= num_batches:
        for stage in range(len(line.equipments)):
            line.step(stage)


def _times(spans: Sequence[Span], *, is_head: bool, anchor_every: int) -> dict[str, float]:
    """Per batch, or per anchor where they are of anchors; batch_s of the mean batch."""
    seconds = _no_times()
    for batch_id, part, spent in _by_batch(spans):
        is_anchor = anchor_every > 0 and batch_id % anchor_every == 0
        if part == "update" and is_anchor:
            part = "anchor" if is_head else "head_start"
        seconds[part].append(spent)
    means = {f"{name}_s": fmean(values or [0.0]) for name, values in seconds.items()}
    share = 1 / anchor_every if anchor_every else 0.0
    if anchor_every:
        anchor = means["head_start_s"] + means["anchor_s"] + means["learn_s"]
        ending = means["update_s"] * (1 - share) + anchor * share
    else:
        ending = means["update_s"] + means["anchor_s"] + means["learn_s"]
    return means | {"batch_s": means["forward_s"] + ending}


def _by_batch(spans: Sequence[Span]) -> Iterator[tuple[int, str, float]]:
    """Of each batch after the warm-up the seconds of its parts: those that links take left out.

    What is done after its gradient has come back is an anchor's part, or learning from it.
    """
    spent: dict[int, dict[str, float]] = defaultdict(dict)
    returned = set()
    for kind, batch_id, _, began_ns, ended_ns in spans:
        if kind == "receive gradient":
            returned.add(batch_id)
        elif batch_id >= WARM_UP and kind in COMPUTED:
            part = COMPUTED[kind]
            if part == "update" and batch_id in returned:
                part = "anchor"
            before = spent[batch_id].get(part, 0.0)
            spent[batch_id][part] = before + (ended_ns - began_ns) / 1e9
    for batch_id, parts in spent.items():
        # All that belongs to a batch, so that means are over as many.
        expected = ["forward", "update", *(["anchor", "learn"] if batch_id in returned else [])]
        for part in expected:
            yield batch_id, part, parts.get(part, 0.0)


def _no_times() -> dict[str, list[float]]:
    return {"forward": [], "update": [], "head_start": [], "anchor": [], "learn": []}


def _stage_times(row: dict[str, float]) -> StageTimes:
    cost = StageCost(
        forward_s=row["forward_s"],
        update_s=row["update_s"],
        head_start_s=row["head_start_s"],
        anchor_s=row["anchor_s"],
        learn_s=row["learn_s"],
    )
    return StageTimes(row["batch_s"], cost)


def middle(rounds: Sequence[Sequence[StageTimes]]) -> list[StageTimes]:
    """Several measurements of the same stages as one: the median of each time."""
    names = ("forward_s", "update_s", "head_start_s", "anchor_s", "learn_s")
    stages = []
    for times in zip(*rounds, strict=True):
        cost = {name: median(getattr(each.cost, name) for each in times) for name in names}
        stages.append(StageTimes(median(each.batch_s for each in times), StageCost(**cost)))
    return stages
