"""A member process: trains in order, with chosen delays, whatever it is told to, one after another.

It is the workers' own code that runs, over an in-memory line, on one thread.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.harness.member import answer
from benchmarks.workloads.deep.arithmetic import counted
from benchmarks.workloads.deep.delays import DelayedLine
from dni_async.config.extensions import find_callable
from dni_async.config.run_config import RunConfig
from dni_async.errors import DniError, NonFiniteError
from dni_async.stage.threads import prepare_torch
from dni_async.wire.messages import BoundaryEpoch, EpochLoss, EpochTrained, Evaluated, Message
from dni_async.workers.in_memory import InMemoryLine, build_line

__all__ = ["main", "train"]

Ranges = Sequence[tuple[int, int]]


def main(_member: int) -> None:
    """Runs, asked for and answered in JSON, until nothing more is asked."""
    prepare_torch(1)
    for line in sys.stdin:
        order = json.loads(line)
        config = RunConfig.from_dict(order["config"])
        try:
            if order["counts"]:
                answer(counted(config, order["ranges"]))
            else:
                answer(train(config, order["ranges"], order["delays"], order["watch"]))
        except NonFiniteError as error:
            answer({"failed": f"diverged: {error}"})
        except DniError as error:
            answer({"failed": f"{type(error).__name__}: {error}"})


def train(
    config: RunConfig, ranges: Ranges | None, delays: str = "0", watch: str | None = None
) -> dict[str, Any]:
    """What is told of every epoch; see Told.

    ranges: of layers, of each stage. delays: see delays_of. watch: ``module:function`` that is
    given all stages' equipment, and gives what is called after each batch of the head's. Raises
    what a run raises.
    """
    delayed = DelayedLine(delays)
    line = build_line(config, ranges=ranges, adapt=delayed.adapt)
    if watch is not None:
        delayed.after_batch = _watcher(watch, line)
    told = Told()
    for stage, message in delayed.turns(line):
        told.hear(stage, message)
    return told.to_dict(config, len(line.equipments))


def _watcher(name: str, line: InMemoryLine) -> Callable[[], None]:
    made: Any = find_callable("watch", name)(line.equipments)
    watcher: Callable[[], None] = made
    return watcher


class Told:
    """What stages tell of the epochs, as a table has it."""

    def __init__(self) -> None:
        self._epochs: dict[int, dict[str, Any]] = defaultdict(lambda: {"agreement": {}})
        self._samples = 0

    def hear(self, stage: int, message: Message) -> None:
        """What a stage has told."""
        match message:
            case EpochLoss():
                self._epochs[message.epoch]["train_loss"] = message.loss
                self._samples += message.num_samples
            case EpochTrained():
                self._epochs[message.epoch]["seconds"] = message.seconds
            case Evaluated():
                self._epochs[message.epoch]["loss"] = message.loss
                self._epochs[message.epoch]["error"] = 100 * (1 - message.metrics["accuracy"])
            case BoundaryEpoch() if message.num_gradients:
                self._epochs[message.epoch]["agreement"][stage] = [
                    round(message.cosine, 4),
                    round(message.norm_ratio, 4),
                    message.num_gradients,
                ]

    def to_dict(self, config: RunConfig, num_stages: int) -> dict[str, Any]:
        """epochs: of each, its training loss, and loss and error in percent on what is held out.

        agreement: of each boundary from the lowest on, of the last epoch that had any: cosine, norm
        ratio and of how many gradients; None where there was none. samples_per_second: of training
        alone, by one thread.
        """
        epochs = [self._epochs[number] for number in sorted(self._epochs)]
        last: dict[int, list[float]] = {}
        for epoch in epochs:
            last |= epoch.pop("agreement")
        seconds = sum(epoch["seconds"] for epoch in epochs)
        return {
            "seed": config.seed,
            "lr": config.lr,
            "epochs": epochs,
            "agreement": [last.get(stage) for stage in range(num_stages - 1)],
            "samples_per_second": self._samples / seconds,
        }
