"""Where entries are trained: in order in one process each, or by real asynchronous workers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.harness.team import Team
from benchmarks.rivals.arms import Trained, train_arm
from benchmarks.workloads.deep.entries import Entry
from benchmarks.workloads.deep.networks import EXAMPLES
from dni_async.config.run_config import RunConfig
from dni_async.errors import DniError

__all__ = ["Order", "count_work", "modules_are_found", "train_in_order", "train_really"]

MEMBER = "benchmarks.workloads.deep.ordered"
ROOT = str(EXAMPLES.parent)
REFERENCE = "baseline-all-threads"
Order = tuple[Entry, RunConfig]


def train_in_order(orders: Sequence[Order], jobs: int) -> Iterator[tuple[Entry, dict[str, Any]]]:
    """Each entry with what came of it, jobs of them beside one another; see ordered.main.

    Raises MemberDied.
    """
    told = [(entry, entry.in_order(config)) for entry, config in orders]
    yield from _asked(told, jobs)


def count_work(orders: Sequence[Order], jobs: int) -> Iterator[tuple[Entry, dict[str, Any]]]:
    """Each entry with its arithmetic; see arithmetic.counted. Raises MemberDied."""
    told = [(entry, entry.in_order(config) | {"counts": True}) for entry, config in orders]
    yield from _asked(told, jobs)


def _asked(
    told: Sequence[tuple[Entry, dict[str, Any]]], jobs: int
) -> Iterator[tuple[Entry, dict[str, Any]]]:
    with Team(MEMBER, jobs) as team:
        for first in range(0, len(told), jobs):
            beside = told[first : first + jobs]
            for member, (_, order) in enumerate(beside):
                team.tell(member, order)
            for member, (entry, _) in enumerate(beside):
                yield entry, team.hear(member)


def train_really(entry: Entry, config: RunConfig) -> dict[str, Any]:
    """As train_in_order, by workers as dni-launch starts them; the reference on all threads."""
    row = entry.row
    if not entry.arm.is_reference:
        config = dataclasses.replace(
            config,
            stages=None if row.ranges is None else len(row.ranges),
            partition="even" if row.is_even else "balanced",
        )
    try:
        with modules_are_found():
            trained = train_arm(REFERENCE if entry.arm.is_reference else "dni", config)
    except DniError as error:
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    return _told(trained, config)


def _told(trained: Trained, config: RunConfig) -> dict[str, Any]:
    """As ordered.Told tells it."""
    epochs = [
        {
            "train_loss": epoch.train_loss,
            "seconds": epoch.seconds,
            "loss": epoch.test_loss,
            "error": 100 * (1 - epoch.test_metrics["accuracy"]),
        }
        for epoch in trained.epochs
    ]
    last = {
        each.stage: [round(each.cosine, 4), round(each.norm_ratio, 4), each.num_gradients]
        for each in trained.boundaries
        if each.num_gradients
    }
    return {
        "seed": config.seed,
        "lr": config.lr,
        "epochs": epochs,
        "agreement": [last.get(stage) for stage in range(max(last, default=-1) + 1)],
        "samples_per_second": trained.samples_per_second,
    }


@contextmanager
def modules_are_found() -> Iterator[None]:
    """Workers find the networks, wherever they are started."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{before}" if before else ROOT
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
