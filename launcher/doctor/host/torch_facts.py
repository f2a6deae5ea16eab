"""Tells what torch finds here, in a process of its own: a driver may hang, an import may fail.

Reads its job as JSON from standard input and writes one JSON line to standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import torch

from dni_async.system.answers import keep_for_answers

__all__ = ["main"]

ROUNDS = 5
MAX_ROWS, MAX_COLUMNS = 256, 4096  # 0.2 s a round on a core


def main() -> None:
    """The process: torch, its CUDA (null for none), devices, and what a layer takes on the first.

    layer_s: forward and weight gradient of width x width for batch_size samples, on one thread.
    """
    job, answer = json.load(sys.stdin), keep_for_answers()
    torch.set_num_threads(1)
    devices = _devices()
    device = torch.device("cuda", 0) if devices else torch.device("cpu")
    facts = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "devices": devices,
        "layer_s": _layer_seconds(job["width"], job["batch_size"], device),
    }
    answer(facts)
    os._exit(0)  # torch's own threads take their time to end


def _devices() -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        found.append({"index": index, "name": name, "free_bytes": free, "total_bytes": total})
    return found


def _layer_seconds(width: int, batch_size: int, device: torch.device) -> float:
    """The fastest of a few rounds; the first one allocates. Of what is too large, a part."""
    rows, columns = min(batch_size, MAX_ROWS), min(width, MAX_COLUMNS)
    x = torch.randn(rows, columns, device=device)
    weight = torch.randn(columns, columns, device=device)
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        hidden = x @ weight
        hidden.t() @ x
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begun)
    return best * (batch_size / rows) * (width / columns) ** 2
