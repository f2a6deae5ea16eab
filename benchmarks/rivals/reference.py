"""A member process: a whole run by its rule, but in order and in one process.

In order: a window of one, so that a returned gradient is used before the next batch is taken up and
nothing is stale. It is the workers' own code that runs, over an in-memory line.
"""

from __future__ import annotations

import dataclasses
import json
import sys

from benchmarks.harness.member import answer
from benchmarks.harness.team import Team
from benchmarks.rivals.wire_formats import make_format
from dni_async.config.run_config import RunConfig
from dni_async.stage.threads import prepare_torch
from dni_async.wire.messages import Evaluated
from dni_async.workers.in_memory import build_line

__all__ = ["main", "train_in_order", "train_over_wire"]


def train_in_order(config: RunConfig) -> float:
    """The test accuracy, in [0, 1], after the last epoch. Raises MemberDied."""
    return train_over_wire(config, "same")["accuracy"]


def train_over_wire(config: RunConfig, wire: str) -> dict[str, float]:
    """As train_in_order, every tensor between stages in that format (see wire_formats).

    accuracy; up_error, down_error: of what was carried, relative, on average. Raises MemberDied.
    """
    with Team("benchmarks.rivals.reference", 1) as team:
        team.tell_all([{"config": config.to_dict(), "wire": wire}])
        return [team.hear(0) for _ in range(config.epochs)][-1]


def main(_member: int) -> None:
    """One run, asked for and answered in JSON."""
    order = json.loads(sys.stdin.readline())
    config = dataclasses.replace(RunConfig.from_dict(order["config"]), window=1)
    prepare_torch(1)
    wire = make_format(order["wire"], config.seed)
    for _, message in build_line(config, adapt=wire.between).turns():
        if isinstance(message, Evaluated):
            answer({"accuracy": message.metrics["accuracy"], **wire.errors()})
