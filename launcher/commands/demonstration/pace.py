"""How fast this machine is just now, measured in three tenths of a second."""

from __future__ import annotations

import time

import torch

from dni_async.launcher.commands.demonstration.sizing import BATCH_SIZE, LAYER_WIDTH, Machine
from dni_async.system.machine import available_bytes, available_cores

__all__ = ["measure_machine"]

MEASURED_S = 0.3


def measure_machine() -> Machine:
    """Its cores, its free memory, and what one thread takes to train a layer on a batch."""
    return Machine(available_cores(), available_bytes(), _layer_s())


def _layer_s() -> float:
    """The three products of a layer, one thread; the mean, as what others do counts too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        inputs = torch.ones(BATCH_SIZE, LAYER_WIDTH)
        weight = torch.ones(LAYER_WIDTH, LAYER_WIDTH)
        _products(inputs, weight)  # the first ones make what the others find
        began, rounds = time.perf_counter(), 0
        while (seconds := time.perf_counter() - began) < MEASURED_S:
            _products(inputs, weight)
            rounds += 1
        return seconds / max(1, rounds)
    finally:
        torch.set_num_threads(before)


def _products(inputs: torch.Tensor, weight: torch.Tensor) -> None:
    outputs = inputs @ weight
    outputs.t() @ inputs
    outputs @ weight.t()
