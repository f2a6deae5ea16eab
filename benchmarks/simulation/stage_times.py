"""What each stage's arithmetic takes: the whole line in one process, on one thread, no links.

The stages do what the run's rule tells them to, batch by batch and in the order of a line, with
every action timed. As a program it measures for whoever started it (JSON lines); several at once
show what the cores take from each other.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import torch

from benchmarks.harness.member import answer
from benchmarks.harness.team import Team
from benchmarks.in_order.in_order import Place
from benchmarks.simulation.simulation import StageCost
from dni_async.config.run_config import RunConfig
from dni_async.data import load_dataset
from dni_async.data.inputs import Inputs
from dni_async.decisions.actions import (
    Batch,
    Forward,
    Learn,
)
from dni_async.decisions.rules import Rule
from dni_async.network.building import build_network, cut_stage, layer_starts
from dni_async.network.partition import split_layers
from dni_async.stage.draws import Draws
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.making import make_stage
from dni_async.stage.stage import Stage
from dni_async.stage.threads import prepare_torch
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.making import make_boundary

__all__ = ["StageTimes", "ceiling", "main", "measure_stages", "middle"]

WARM_UP, LEAST = 4, 4  # batches
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
    with Team("benchmarks.simulation.stage_times", copies) as team:
        team.tell_all([order] * copies)
        measured = [team.hear(member)["stages"] for member in range(copies)]
    return middle([[_stage_times(row) for row in stages] for stages in measured])


def main(_member: int) -> None:
    """One measurement, asked for and answered in JSON."""
    order = json.loads(sys.stdin.readline())
    config = RunConfig.from_dict(order["config"])
    prepare_torch(1)
    line = _Line(config, order["ranges"])
    for index in range(WARM_UP):
        line.train(index)
    line.clear()
    began = time.perf_counter()
    while not line.has_enough(order["num_batches"], time.perf_counter() - began):
        index += 1
        line.train(index)
    answer({"stages": line.times()})


class _Line:
    """All stages of a run, one batch at a time; an anchor's gradient comes back at once."""

    def __init__(self, config: RunConfig, ranges: Sequence[Sequence[int]] | None) -> None:
        dataset = load_dataset(
            config.data, None if config.data_dir is None else Path(config.data_dir)
        )
        self._inputs = Inputs(dataset, batch_size=config.batch_size, seed=config.seed)
        network = build_network(config, dataset.input_shape, dataset.num_classes)
        ranges = ranges or split_layers(len(layer_starts(network)), config.num_stages)
        self._rule = config.make_rule()
        loss = run_loss(dataset.num_classes)
        num_batches = config.epochs * self._inputs.num_train_batches
        self._timed = []
        for index, (first, end) in enumerate(ranges):
            layers = cut_stage(network, first, end)
            draws = Draws(config.seed, first, layer_starts(layers))
            stage = make_stage(
                layers, config, loss, index=index, num_batches=num_batches, draws=draws
            )
            boundary = make_boundary(config, loss, torch.device("cpu"))
            self._timed.append(_Timed(stage, boundary, has_above=index < len(ranges) - 1))

    def train(self, batch_id: int) -> None:
        """One batch up the line, and what it sends back. Reading it is the source's work."""
        began = time.perf_counter()
        epoch, index = divmod(batch_id, self._inputs.num_train_batches)
        x, y = self._inputs.train_batch(epoch + 1, index)
        load_s = time.perf_counter() - began
        every = self._rule.anchor_every
        batch = Batch(batch_id, "train", every > 0 and batch_id % every == 0)
        tensor: torch.Tensor | None = x
        for timed in self._timed:
            assert tensor is not None
            timed.take_up(batch, tensor, y, self._rule)
            tensor = timed.place.sent
        self._timed[0].seconds["forward"][-1] += load_s
        for upper, lower in zip(self._timed[:0:-1], self._timed[-2::-1], strict=True):
            if upper.place.returned is not None:
                lower.take_back(batch, upper.place.returned, self._rule)
        for timed in self._timed:
            timed.place.stage.forget(batch_id)

    def clear(self) -> None:
        """Forget all times."""
        for timed in self._timed:
            timed.seconds = _no_times()

    def has_enough(self, num_batches: int, seconds: float) -> bool:
        """Whether what has been measured will do."""
        count = len(self._timed[0].seconds["forward"])
        if self._rule.anchor_every and not self._timed[0].seconds["anchor"]:
            return False
        return count >= num_batches or (count >= LEAST and seconds > ENOUGH_S)

    def times(self) -> list[dict[str, float]]:
        """Means over the batches, one row per stage."""
        return [timed.times(self._rule.anchor_every) for timed in self._timed]


class _Timed:
    """One stage with its boundary, and what its actions took."""

    def __init__(self, stage: Stage, boundary: Boundary, *, has_above: bool) -> None:
        self._has_below, self._has_above = stage.index > 0, has_above
        self._labels = torch.empty(0)
        self.place = Place(stage, boundary)
        self.seconds = _no_times()

    def take_up(self, batch: Batch, x: torch.Tensor, y: torch.Tensor, rule: Rule) -> None:
        """A batch arrives; place.sent and place.returned tell what left the stage."""
        self.place.begin()
        self._labels = y
        actions = rule.on_batch(batch, has_below=self._has_below, has_above=self._has_above)
        spent = {"forward": 0.0, "update": 0.0}
        for action in actions:
            began = time.perf_counter()
            self.place.perform(action, x, y, None)
            part = "forward" if isinstance(action, Forward) else "update"
            spent[part] += time.perf_counter() - began
        self.seconds["forward"].append(spent["forward"])
        if not batch.anchor:
            self.seconds["update"].append(spent["update"])
        else:
            part = "head_start" if self._has_above else "anchor"
            self.seconds[part].append(spent["update"])

    def take_back(self, batch: Batch, gradient: torch.Tensor, rule: Rule) -> None:
        """The gradient of a batch comes back from above."""
        spent = {"anchor": 0.0, "learn": 0.0}
        for action in rule.on_returned(batch.batch_id, has_below=self._has_below):
            began = time.perf_counter()
            self.place.perform(action, None, self._labels, gradient)
            part = "learn" if isinstance(action, Learn) else "anchor"
            spent[part] += time.perf_counter() - began
        for part, seconds in spent.items():
            self.seconds[part].append(seconds)

    def times(self, anchor_every: int) -> dict[str, float]:
        """Per batch, or per anchor where they are of anchors; batch_s of the mean batch."""
        means = {f"{name}_s": fmean(values or [0.0]) for name, values in self.seconds.items()}
        share = 1 / anchor_every if anchor_every else 0.0
        if anchor_every:
            anchor = means["head_start_s"] + means["anchor_s"] + means["learn_s"]
            ending = means["update_s"] * (1 - share) + anchor * share
        else:
            ending = means["update_s"] + means["anchor_s"] + means["learn_s"]
        return means | {"batch_s": means["forward_s"] + ending}


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
