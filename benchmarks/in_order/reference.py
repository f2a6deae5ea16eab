"""A member process: a whole run by its rule, but in order and in one process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import nn

from benchmarks.harness.member import answer
from benchmarks.harness.team import Team
from benchmarks.in_order.in_order import Carry, ReferenceLine
from benchmarks.in_order.wire_formats import make_format
from dni_async.config.run_config import RunConfig
from dni_async.data import load_dataset
from dni_async.data.inputs import Inputs
from dni_async.decisions.rules import OccasionalRule, Rule
from dni_async.network.building import build_network, cut_stage, layer_starts
from dni_async.network.partition import split_layers
from dni_async.seeding import stage_seed
from dni_async.stage.draws import Draws
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.score import add_scores
from dni_async.stage.making import make_stage
from dni_async.stage.threads import prepare_torch
from dni_async.synthesizers.making import make_boundary

__all__ = ["main", "train_in_order", "train_over_wire"]


def train_in_order(config: RunConfig) -> float:
    """The test accuracy, in [0, 1], after the last epoch. Raises MemberDied."""
    with Team("benchmarks.in_order.reference", 1) as team:
        team.tell_all([{"config": config.to_dict()}])
        return [float(team.hear(0)["accuracy"]) for _ in range(config.epochs)][-1]


def train_over_wire(config: RunConfig, wire: str) -> dict[str, float]:
    """As train_in_order, every tensor between stages in that format (see wire_formats).

    accuracy; up_error, down_error: of what was carried, relative, on average. Raises MemberDied.
    """
    with Team("benchmarks.in_order.reference", 1) as team:
        team.tell_all([{"config": config.to_dict(), "wire": wire}])
        return [team.hear(0) for _ in range(config.epochs)][-1]


def main(_member: int) -> None:
    """One run, asked for and answered in JSON."""
    order = json.loads(sys.stdin.readline())
    config = RunConfig.from_dict(order["config"])
    prepare_torch(1)
    folder = None if config.data_dir is None else Path(config.data_dir)
    dataset = load_dataset(config.data, folder)
    inputs = Inputs(dataset, batch_size=config.batch_size, seed=config.seed)
    wire = make_format(order.get("wire", "same"), config.seed)
    network = build_network(config, dataset.input_shape, dataset.num_classes)
    loss = run_loss(dataset.num_classes)
    line = _build(config, inputs, network, loss, wire.carry)
    for epoch in range(1, config.epochs + 1):
        for index in range(inputs.num_train_batches):
            line.train(*inputs.train_batch(epoch, index))
        answer({"accuracy": _accuracy(line, inputs, loss), **wire.errors()})


def _accuracy(line: ReferenceLine, inputs: Inputs, loss: Loss) -> float:
    scores = []
    for index in range(inputs.num_test_batches):
        x, y = inputs.test_batch(index)
        scores.append(loss.score(line.evaluate(x), y))
    return add_scores(scores).means["accuracy"]


def _build(
    config: RunConfig, inputs: Inputs, network: nn.Sequential, loss: Loss, carry: Carry
) -> ReferenceLine:
    """Stages and boundaries as the workers build theirs, each with its own seed."""
    rule: Rule = config.make_rule()
    if config.update_probability < 1:
        rule = OccasionalRule(rule, config.update_probability, config.seed)
    num_batches = config.epochs * inputs.num_train_batches
    ranges = split_layers(len(layer_starts(network)), config.num_stages)
    stages = []
    for index, (first, end) in enumerate(ranges):
        layers = cut_stage(network, first, end)
        draws = Draws(config.seed, first, layer_starts(layers))
        stages.append(
            make_stage(layers, config, loss, index=index, num_batches=num_batches, draws=draws)
        )
    torch.manual_seed(stage_seed(config.seed, 0))
    boundaries = [
        make_boundary(config, loss, torch.device("cpu"))
        for _ in range(len(stages) - 1 if rule.needs_synthesizer else 0)
    ]
    return ReferenceLine(stages, boundaries, rule, carry)
