"""How large the demo is: what the machine's cores, memory and speed let it show in a minute."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from dni_async.config.run_config import RunConfig

__all__ = [
    "BATCH_SIZE",
    "LAYER_WIDTH",
    "Machine",
    "Size",
    "second_epochs",
    "sized",
    "unkillable",
]

NUM_TRAIN: Final = 1437  # the digits'
BATCH_SIZE: Final = 256
LAYER_WIDTH: Final = 1024
"""Units of the layer whose time a Machine tells."""

NUM_BATCHES: Final = -(-NUM_TRAIN // BATCH_SIZE)  # an epoch
EVALUATE_EVERY: Final = 5  # more batches a stage between tests than fill and drain the line
MOST_EPOCHS, FEWEST_EPOCHS = 20, 10
MOST_HEAVY: Final = 6  # layers that take turns with nobody, where there are so many cores
WIDTHS: Final = (1024, 768, 512, 256)
ENDS: Final = 0.4  # of a heavy layer: what the first layer, the last one and the rest take
ONE_THREAD_S: Final = 8.5  # as long as one thread may train; the whole takes about four times that

LAUNCHER_BYTES: Final = 500 * 2**20  # with the fork server and a baseline
WORKER_BYTES: Final = 100 * 2**20  # of its own, at the largest width

LEAST_TRAINING_S: Final = 3.0  # of the second act: a killed worker is back long before
MOST_TIMES: Final = 100.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What a size is drawn from. available_bytes: None where the system does not say.

    layer_s: seconds that one thread takes to train a layer of LAYER_WIDTH units on a batch.
    """

    cores: int
    available_bytes: int | None
    layer_s: float


@dataclass(frozen=True, slots=True)
class Size:
    """The layers, each of which has a worker, their width, and how long they are trained."""

    layers: int
    width: int
    epochs: int

    def settings(self) -> dict[str, Any]:
        """As the settings of a run."""
        return {
            "layers": self.layers,
            "width": self.width,
            "batch_size": BATCH_SIZE,
            "epochs": self.epochs,
            "evaluate_every": EVALUATE_EVERY,
            "norm": "batch",
        }

    def one_thread_s(self, machine: Machine) -> float:
        """Seconds that plain backpropagation in one thread should train for."""
        heavy = self.layers - 2 + ENDS
        layer_s = machine.layer_s * (self.width / LAYER_WIDTH) ** 2
        return self.epochs * NUM_BATCHES * heavy * layer_s


def sized(machine: Machine) -> Size:
    """The largest demo that should take well under a minute.

    A layer for each core but for the first and the last one, which are light; as many epochs as
    there is time for, then as wide. A slow or busy machine gets less to do, one with little memory
    fewer workers.
    """
    layers = _layers(machine)
    sizes = [Size(layers, width, epochs) for width, epochs in _amounts(machine)]
    fitting = (size for size in sizes if size.one_thread_s(machine) <= ONE_THREAD_S)
    return next(fitting, sizes[-1])


def second_epochs(epochs: int, train_s: float) -> int:
    """Epochs of the second act, so that it trains long enough for a worker to die and come back.

    train_s: what the epochs of the first one took.
    """
    if train_s >= LEAST_TRAINING_S:
        return epochs
    times = MOST_TIMES if train_s <= 0 else min(MOST_TIMES, LEAST_TRAINING_S / train_s)
    return math.ceil(epochs * times / EVALUATE_EVERY) * EVALUATE_EVERY


def unkillable(config: RunConfig, num_stages: int) -> str | None:
    """Why a run with these settings does not outlive the death of a worker; None where it does."""
    rule = config.rule_traits
    if config.max_restarts == 0:
        return "with --max-restarts 0 nobody is replaced"
    if not rule.allows_replacement:
        return f"rule {config.rule} may lose no batch"
    return "there is only one worker" if num_stages == 1 else None


def _layers(machine: Machine) -> int:
    layers = 2 + min(machine.cores, MOST_HEAVY)
    if machine.available_bytes is None:
        return layers
    room = (machine.available_bytes - LAUNCHER_BYTES) // WORKER_BYTES
    return max(2, min(layers, room))


def _amounts(machine: Machine) -> Iterator[tuple[int, int]]:
    """Widths and epochs, the most work first."""
    is_tight = machine.available_bytes is not None and machine.available_bytes < 2**30
    widths = WIDTHS[2:] if is_tight else WIDTHS
    for epochs, least in ((MOST_EPOCHS, 768), (FEWEST_EPOCHS, 0)):
        yield from ((width, epochs) for width in widths if width >= least)
