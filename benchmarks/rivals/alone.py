"""A member process: plain backpropagation, each of its threads held to a share of a core.

It is the baseline's own code. The threads that compute are told from others by having been started
for the first piece of work that takes them all.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.harness.member import answer
from benchmarks.harness.shares import hold_process, hold_thread
from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs.baseline import train
from dni_async.launcher.report.results import EpochResult
from dni_async.stage.threads import prepare_torch

__all__ = ["main"]

LARGE = 2**22  # numbers: work for every thread


def main(_member: int) -> None:
    """One run, asked for and answered in JSON, an epoch a line."""
    order = json.loads(sys.stdin.readline())
    groups = [Path(group) for group in order["groups"]]
    prepare_torch(order["num_threads"])
    helpers = _helpers()

    def started() -> None:
        if groups:
            hold_process(groups[0], os.getpid())
        for group, thread in zip(groups[1:], helpers, strict=True):
            hold_thread(group, thread)

    def report(epoch: EpochResult) -> None:
        answer(asdict(epoch))

    train(RunConfig.from_dict(order["config"]), torch.device("cpu"), started, report)


def _helpers() -> list[int]:
    """The threads that compute beside this one."""
    before = _threads()
    torch.zeros(LARGE).add_(1.0)
    return sorted(_threads() - before)


def _threads() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}
